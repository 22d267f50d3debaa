import type { DescComments } from '@bufbuild/protobuf';
import { getComments } from '@bufbuild/protoplugin';

/** What stands above a declaration in its `.proto`, each paragraph on a line of its own. */
export function commentOf(declared: Parameters<typeof getComments>[0]): string {
  const { leading = '' }: DescComments = getComments(declared);
  return leading
    .trim()
    .split(/\n\s*\n/)
    .map(paragraph => paragraph.replace(/\s*\n\s*/g, ' ').trim())
    .join('\n\n');
}
