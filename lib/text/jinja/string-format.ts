import { repr, str } from './format.js';
import { integer } from './signature.js';
import { Dict, numeric, TemplateError, Tuple, typeName, type Keywords, type Value } from './values.js';

/** A float with a fixed number of decimals, rounded half to even on its exact value as C does. */
function fixed(value: number, decimals: number): string {
  if (!Number.isFinite(value) || Math.abs(value) >= 1e21 || decimals > 100) {
    throw new TemplateError(`formatting ${value} with ${decimals} decimals is not supported`);
  }
  const text = value.toFixed(decimals);
  // toFixed rounds exact ties up.
  const exactTie =
    decimals < 20 && Number(value.toFixed(decimals + 30 > 100 ? 100 : decimals + 30)) === value;
  if (exactTie) {
    const long = Math.abs(value).toFixed(Math.min(100, decimals + 60));
    const tail = long.slice(long.length - (Math.min(100, decimals + 60) - decimals));
    if (/^50*$/.test(tail)) {
      const kept = long.slice(0, long.length - tail.length).replace(/\.$/, '');
      const even = '02468'.includes(kept.at(-1)!);
      if (even) return (value < 0 || Object.is(value, -0) ? '-' : '') + kept;
    }
  }
  return Object.is(value, -0) ? `-${text}` : text;
}

/** What one conversion of `%` makes of a value. */
function convert(kind: string, precision: number | undefined, value: Value): string {
  if (kind === 's' || kind === 'r') {
    const text = kind === 's' ? str(value) : repr(value);
    return precision === undefined ? text : Array.from(text).slice(0, precision).join('');
  }
  const number = numeric(value);
  if (number === undefined)
    throw new TemplateError(`%${kind} format: a number is required, not ${typeName(value)}`);
  if (kind === 'f' || kind === 'F') return fixed(Number(number), precision ?? 6);
  if (precision !== undefined) throw new TemplateError(`unsupported format %.${precision}${kind}`);
  if (typeof number === 'number') {
    if (!Number.isFinite(number)) throw new TemplateError(`cannot convert float ${number} to integer`);
    if (kind !== 'd' && kind !== 'i') throw new TemplateError(`%${kind} format: an integer is required`);
    return String(BigInt(Math.trunc(number)));
  }
  if (kind === 'x') return number.toString(16);
  return String(number);
}

/** `text % values` */
export function formatPercent(format: string, values: Value): string {
  const items = values instanceof Tuple ? values.items : [values];
  let used = 0;
  const result = format.replace(
    /%(?:\(([^)]*)\))?([-+ #0]*)(\*|\d+)?(?:\.(\*|\d+))?([^]?)/g,
    (
      whole,
      key: string | undefined,
      flags: string,
      width: string | undefined,
      precision: string | undefined,
      kind: string,
    ) => {
      if (kind === '%' && whole === '%%') return '%';
      if (
        !'srdixfF'.includes(kind) ||
        kind === '' ||
        /[^-0]/.test(flags) ||
        width === '*' ||
        precision === '*'
      ) {
        throw new TemplateError(`unsupported format ${JSON.stringify(whole)}`);
      }
      let value: Value | undefined;
      if (key === undefined) value = items[used++];
      else if (values instanceof Dict) value = values.get(key);
      else throw new TemplateError('format requires a mapping');
      if (value === undefined) throw new TemplateError('not enough arguments for format string');
      const text = convert(kind, precision === undefined ? undefined : Number(precision), value);
      const missing = Math.max(0, Number(width ?? 0) - Array.from(text).length);
      if (flags.includes('-')) return text + ' '.repeat(missing);
      if (!flags.includes('0') || kind === 's' || kind === 'r') return ' '.repeat(missing) + text;
      return text.replace(/^-?/, (sign) => sign + '0'.repeat(missing));
    },
  );
  if (used < items.length && !(values instanceof Dict) && !(Array.isArray(values) && used === 0)) {
    throw new TemplateError('not all arguments converted during string formatting');
  }
  return result;
}

/** `str.format` with plain fields: `{}`, `{0}`, `{name}`, `!s`, `!r`, and `:.2f` of numbers. */
export function formatBraces(format: string, args: readonly Value[], keywords: Keywords): string {
  let next = 0;
  let numbered = false;
  return format.replace(/\{\{|\}\}|\{([^{}]*)\}|[{}]/g, (whole, field: string | undefined) => {
    if (whole === '{{' || whole === '}}') return whole[0]!;
    const match = /^(\w*)(?:!([sr]))?(?::(?:\.(\d+)f)?)?$/.exec(field ?? '{');
    if (!match) throw new TemplateError(`unsupported format field ${JSON.stringify(whole)}`);
    const [, name, conversion, decimals] = match as unknown as [string, string, string?, string?];
    let value: Value | undefined;
    if (name === '') value = args[next++];
    else if (/^\d+$/.test(name)) value = ((numbered = true), args[Number(name)]);
    else value = keywords.get(name);
    if (numbered && next > 0)
      throw new TemplateError('format: numbered and unnumbered fields cannot be mixed');
    if (value === undefined) throw new TemplateError(`format: there is no argument for ${whole}`);
    if (decimals !== undefined) {
      const number = conversion === undefined ? numeric(value) : undefined;
      if (number === undefined) throw new TemplateError(`unsupported format field ${JSON.stringify(whole)}`);
      return fixed(Number(number), integer(BigInt(decimals)));
    }
    return conversion === 'r' ? repr(value) : str(value);
  });
}
