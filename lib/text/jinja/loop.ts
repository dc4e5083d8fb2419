import { str } from './format.js';
import { Callable, equal, iterate, orElse, TemplateError, Undefined, type Value } from './values.js';

/** Items of a value that is assigned to `count` targets. */
export function unpack(value: Value, count: number): Value[] {
  if (value instanceof Undefined) throw new TemplateError(value.message);
  const items = [...iterate(value)];
  if (items.length !== count)
    throw new TemplateError(`expected ${count} values to unpack, received ${items.length}`);
  return items;
}

/** Where a `for` is, and the variable `loop` that tells its body. */
export class LoopState {
  readonly loop: Callable;
  #index = 0;
  #changed: readonly Value[] | undefined;

  /** @param recurse renders the loop again with other items, where the loop is recursive */
  constructor(
    private readonly items: readonly Value[],
    private readonly depth: number,
    recurse: ((items: Value) => Value) | undefined,
  ) {
    const call = (args: readonly Value[]) => {
      if (!recurse) throw new TemplateError("The loop must have the 'recursive' marker to be called.");
      if (args.length !== 1) throw new TemplateError(`loop() expects 1 argument, received ${args.length}`);
      return recurse(args[0]!);
    };
    this.loop = new Callable('loop', call, (name) => this.#attribute(name));
  }

  next(): void {
    this.#index++;
  }

  #attribute(name: string): Value {
    const [index, count] = [this.#index, this.items.length];
    switch (name) {
      case 'index':
        return BigInt(index + 1);
      case 'index0':
        return BigInt(index);
      case 'revindex':
        return BigInt(count - index);
      case 'revindex0':
        return BigInt(count - index - 1);
      case 'first':
        return index === 0;
      case 'last':
        return index === count - 1;
      case 'length':
        return BigInt(count);
      case 'depth':
        return BigInt(this.depth);
      case 'depth0':
        return BigInt(this.depth - 1);
      case 'previtem':
        return orElse(this.items[index - 1], () => new Undefined('there is no previous item'));
      case 'nextitem':
        return orElse(this.items[index + 1], () => new Undefined('there is no next item'));
      case 'cycle':
        return new Callable(name, (args) => {
          if (args.length === 0) throw new TemplateError('no items for cycling given');
          return args[index % args.length]!;
        });
      case 'changed':
        return new Callable(name, (args) => {
          const before = this.#changed;
          this.#changed = args;
          return before?.length !== args.length || !args.every((value, i) => equal(value, before[i]!));
        });
      default:
        return new Undefined(`'LoopContext object' has no attribute ${str(name)}`);
    }
  }
}
