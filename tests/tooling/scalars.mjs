// How the schema's scalars arrive in TypeScript. Front ends may copy this map; it is the published one.
export const SCALARS = {
  // Exact values are strings, because a JavaScript number would round them.
  BigInt: 'string',
  Decimal: 'string',
  // ISO 8601 calendar date and RFC 3339 instant in UTC.
  Date: 'string',
  DateTime: 'string',
  UUID: 'string',
  JSON: 'unknown',
  Upload: 'File',
  Void: 'null',
};
