import type { DescService } from '@bufbuild/protobuf';
import type { Served } from './bind.ts';

export function reflectionOf(_services: DescService[]): Served[] {
  return [];
}
