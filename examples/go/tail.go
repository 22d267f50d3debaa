// Follows the logs of runs until they have finished, each entry once and in order: a stream that breaks or ends early is continued where it was.
//
//	cd examples/go && go mod tidy && go run . 127.0.0.1:50051 0123456789abcdef0123456789abcdef...
//
// Without access to modules, on Debian: apt-get install golang-go golang-google-grpc-dev golang-google-protobuf-dev, and then
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go run . 127.0.0.1:50051 0123456789abcdef0123456789abcdef...
//
// CLIENT_TLS_CA, CLIENT_TLS_CERT, CLIENT_TLS_KEY and CLIENT_TOKEN_FILE name files for a service that wants TLS, a certificate or a token.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/dynamicpb"
)

func main() {
	if len(os.Args) < 3 {
		fail(errors.New("usage: tail <address> <backup id>..."))
	}
	options, err := credentials()
	if err != nil {
		fail(err)
	}
	// Connects again by itself, with pauses that grow.
	conn, err := grpc.Dial(os.Args[1], options...)
	if err != nil {
		fail(err)
	}
	defer conn.Close()
	if err := tail(context.Background(), conn, os.Args[2:]); err != nil {
		fail(err)
	}
}

// event is an answer of TailLogs in protobuf's JSON: one of these is there.
type event struct {
	Entries *struct {
		BackupID string `json:"backupId"`
		Entries  []struct{ ID, Level, Message string }
	}
	State *struct{ BackupID, Status string }
	End   *struct{ Reason, BackupID string }
}

func tail(ctx context.Context, conn *grpc.ClientConn, backupIDs []string) error {
	token := ""
	for pause := 100 * time.Millisecond; len(backupIDs) > 0; {
		reason := ""
		err := once(ctx, conn, backupIDs, token, func(said event, next string) {
			pause = 100 * time.Millisecond
			show(said)
			// Only now, when the event was dealt with.
			if next != "" {
				token = next
			}
			if said.End == nil {
				return
			}
			reason = said.End.Reason
			if reason == "REASON_DELETED" {
				backupIDs = without(backupIDs, said.End.BackupID)
			}
		})
		if reason == "REASON_SEALED" {
			return nil
		}
		if !passing(err, reason) {
			return err
		}
		time.Sleep(time.Duration((0.5 + rand.Float64()/2) * float64(pause)))
		if pause *= 2; pause > 2*time.Second {
			pause = 2 * time.Second
		}
	}
	return nil
}

func once(ctx context.Context, conn *grpc.ClientConn, backupIDs []string, token string, take func(event, string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	logs, err := describe(ctx, conn, "backup.v1.LogService")
	if err != nil {
		return err
	}
	wish := map[string]interface{}{"backupIds": backupIDs, "untilFinished": true}
	if token != "" {
		wish["resumeToken"] = token
	}
	request, err := json.Marshal(wish)
	if err != nil {
		return err
	}
	return stream(ctx, conn, logs.Methods().ByName("TailLogs"), request, func(answer *dynamicpb.Message) error {
		text, err := protojson.Marshal(answer)
		if err != nil {
			return err
		}
		var said event
		var any map[string]struct{ ResumeToken string }
		if err := json.Unmarshal(text, &said); err != nil {
			return err
		}
		if err := json.Unmarshal(text, &any); err != nil {
			return err
		}
		for _, value := range any {
			take(said, value.ResumeToken)
		}
		return nil
	})
}

func show(said event) {
	switch {
	case said.Entries != nil:
		for _, entry := range said.Entries.Entries {
			fmt.Printf("%s %s %s %q\n", said.Entries.BackupID, entry.ID, entry.Level, entry.Message)
		}
	case said.State != nil:
		fmt.Printf("%s %s\n", said.State.BackupID, said.State.Status)
	case said.End != nil:
		fmt.Fprintln(os.Stderr, said.End.Reason)
	}
}

// passing says whether to come back: MAX_AGE, DRAINING, SLOW_CONSUMER, TOKEN_EXPIRED, or a connection that broke.
func passing(err error, reason string) bool {
	if errors.Is(err, io.EOF) {
		return true
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.ResourceExhausted:
		return true
	case codes.Unauthenticated:
		return reason == "REASON_TOKEN_EXPIRED"
	}
	return false
}

func without(all []string, one string) []string {
	left := []string{}
	for _, each := range all {
		if each != one {
			left = append(left, each)
		}
	}
	return left
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
