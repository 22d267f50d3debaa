/** A line through points, and how sure its slope is. */
export type Trend = {
  slope: number;
  /** Of the slope: 95 of 100 such samples have theirs within twice this. */
  standardError: number;
};

/** The line of least squares; needs three points. */
export function trendOf(points: [x: number, y: number][]): Trend {
  const n = points.length;
  const [meanX, meanY] = [0, 1].map(i => points.reduce((sum, point) => sum + point[i]!, 0) / n) as [number, number];
  const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  const slope = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / spread;
  const rest = points.reduce((sum, [x, y]) => sum + (y - meanY - slope * (x - meanX)) ** 2, 0);
  return { slope, standardError: Math.sqrt(rest / (n - 2) / spread) };
}

export function medianOf(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
