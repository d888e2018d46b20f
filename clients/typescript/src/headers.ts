// Header fields, whose names do not tell upper from lower case.

export type HeaderFields = Readonly<Record<string, string>>;

/** Give the user's fields and ours; where both have one, ours stands. */
export function withOurs(given: HeaderFields | undefined, ours: HeaderFields): HeaderFields {
  const taken = new Set(Object.keys(ours).map((name) => name.toLowerCase()));
  const others = Object.entries(given ?? {}).filter(([name]) => !taken.has(name.toLowerCase()));
  return { ...Object.fromEntries(others), ...ours };
}
