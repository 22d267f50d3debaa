import { type DescMethod, getOption } from '@bufbuild/protobuf';
import { Scope, ScopeSchema, scope } from '../gen/backup/v1/scope_pb.ts';

/**
 * The scope that a caller of a method needs, in lower case, as tokens name it. What others have declared, health and reflection, only tells
 * and has `read`. Throws of a method that declares none: nobody is to call it by mistake.
 */
export function scopeOf(method: DescMethod): string {
  const { typeName } = method.parent;
  if (typeName.startsWith('grpc.')) return nameOf(Scope.READ);
  const declared = getOption(method, scope);
  if (declared === Scope.UNSPECIFIED) throw new Error(`${typeName}/${method.name} declares no scope`);
  return nameOf(declared);
}

/** All that there are. */
export const SCOPES: ReadonlySet<string> = new Set(
  ScopeSchema.values.filter(({ number }) => number !== Scope.UNSPECIFIED).map(({ number }) => nameOf(number as Scope)),
);

function nameOf(declared: Scope): string {
  return ScopeSchema.value[declared]!.localName.toLowerCase();
}
