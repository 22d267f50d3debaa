type Page = { nextPageToken: string };

/** All items of a list, page by page, up to `limit`. `call` asks for one page of at most 1000. */
export async function collect<P extends Page, T>(
  call: (page: { pageToken: string; pageSize: number }) => Promise<P>,
  itemsOf: (page: P) => T[],
  limit = Number.POSITIVE_INFINITY,
): Promise<T[]> {
  const items: T[] = [];
  for (let pageToken = ''; ; ) {
    const page = await call({ pageToken, pageSize: Math.min(1000, limit - items.length) });
    items.push(...itemsOf(page));
    pageToken = page.nextPageToken;
    if (pageToken === '' || items.length >= limit) return items.slice(0, limit);
  }
}
