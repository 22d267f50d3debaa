/** Now in whole epoch seconds, in SQL: all times are the database's clock, a replica's own is never asked. */
export const epochNow = 'floor(extract(epoch from now()))::bigint';
