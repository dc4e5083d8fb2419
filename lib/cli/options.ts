import { InvalidArgumentError } from 'commander';
import { devicePattern, type DeviceName } from '../device-name.js';

/** Value parser of an option that may be given several times. */
export const collect = (value: string, previous: readonly string[] | undefined): string[] => [
  ...(previous ?? []),
  value,
];

/** Value parser of a count. */
export function count(value: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new InvalidArgumentError('Expected a positive integer.');
  return number;
}

/** Value parser of a device. */
export function device(value: string): DeviceName {
  if (!devicePattern.test(value)) throw new InvalidArgumentError('Expected auto, cpu, cuda or cuda:N.');
  return value as DeviceName;
}

/** Value parser of whole numbers between commas. */
export function list(value: string): number[] {
  const numbers = value.split(',').map(Number);
  if (!numbers.every((number) => Number.isSafeInteger(number) && number >= 0))
    throw new InvalidArgumentError('Expected whole numbers between commas.');
  return numbers;
}
