import { TemplateError } from './values.js';

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];

/** C's strftime in the C locale, of local time, for the conversions that chat templates print dates with. */
export function strftime(date: Date, format: string): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const plain = (value: number) => String(value);
  const [day, month, year] = [date.getDate(), date.getMonth(), date.getFullYear()];
  const conversions: Record<string, () => string> = {
    '%': () => '%',
    A: () => DAYS[date.getDay()]!,
    a: () => DAYS[date.getDay()]!.slice(0, 3),
    B: () => MONTHS[month]!,
    b: () => MONTHS[month]!.slice(0, 3),
    d: () => two(day),
    '-d': () => plain(day),
    H: () => two(date.getHours()),
    I: () => two(date.getHours() % 12 || 12),
    '-I': () => plain(date.getHours() % 12 || 12),
    M: () => two(date.getMinutes()),
    m: () => two(month + 1),
    '-m': () => plain(month + 1),
    p: () => (date.getHours() < 12 ? 'AM' : 'PM'),
    S: () => two(date.getSeconds()),
    Y: () => plain(year),
    y: () => two(year % 100),
  };
  return format.replace(/%(-?[A-Za-z%]?)/g, (whole, conversion: string) => {
    const convert = Object.hasOwn(conversions, conversion) ? conversions[conversion] : undefined;
    if (!convert) throw new TemplateError(`strftime_now: unsupported conversion ${whole}`);
    return convert();
  });
}
