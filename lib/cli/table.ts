/** Rows as columns two spaces apart; numbers (all cells after the first row's) lean right where `right` says so. */
export function formatTable(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => (right.includes(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Names and values; those without a value are not shown. */
export type Fields = (readonly [name: string, value: string | undefined])[];

/** Names and values, one a line. */
export function formatFields(fields: Fields): string {
  return formatTable(fields.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}

/** `1.5 GiB` */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  for (; bytes >= 1024 && unit < units.length - 1; unit++) bytes /= 1024;
  return `${unit === 0 ? bytes : bytes.toFixed(1)} ${units[unit]!}`;
}
