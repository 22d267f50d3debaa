// The two libraries that the service cannot do without, and nothing else: how long Node takes to be there with them.
import '@grpc/grpc-js';
import '@mikro-orm/postgresql';

console.log('serves gRPC on no address');
