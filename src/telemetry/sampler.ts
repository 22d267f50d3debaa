import { ParentBasedSampler, type Sampler, SamplingDecision, TraceIdRatioBasedSampler } from '@opentelemetry/sdk-trace';

/** What the parent has decided holds. Without one chance decides, and what serves calls that are recorded is recorded. */
export function sampler(ratio: number): Sampler {
  const chance = new TraceIdRatioBasedSampler(ratio);
  return new ParentBasedSampler({
    root: {
      shouldSample(...asked) {
        const links = asked[5];
        return links.length > 0
          ? { decision: SamplingDecision.RECORD_AND_SAMPLED }
          : chance.shouldSample(...(asked as unknown as Parameters<typeof chance.shouldSample>));
      },
      toString: () => `Linked or ${chance}`,
    },
  });
}
