export function commandsPage(): string {
  return '# Commands';
}
