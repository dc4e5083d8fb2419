/** The entries of a comma-separated list, each one of `known`. */
export function choose(what, list, known) {
  const chosen = list.split(',');
  for (const name of chosen) {
    if (!known.includes(name)) throw new Error(`${what}: expected ${known.join(', ')}, received ${name}`);
  }
  return chosen;
}
