import { str } from './format.js';
import { applyFilter } from './filters.js';
import { bindMacro, globalFunctions } from './functions.js';
import { LoopState, unpack } from './loop.js';
import { arithmetic, compareBy, getAttribute, getItem, slice } from './operators.js';
import { Output, type Place } from './output.js';
import type { Arguments, Expression, Parameter, Statement, Target } from './syntax.js';
import { applyTest } from './tests.js';
import {
  Callable,
  Dict,
  defined,
  iterate,
  Namespace,
  orElse,
  TemplateError,
  truth,
  Tuple,
  typeName,
  Undefined,
  type Keywords,
  type Value,
} from './values.js';

/** Variables of a block; those of the blocks around it are visible but stay as they are. */
class Scope {
  readonly #variables = new Map<string, Value>();

  constructor(readonly parent?: Scope) {}

  get(name: string): Value | undefined {
    const value = this.#variables.get(name);
    return value === undefined ? this.parent?.get(name) : value;
  }

  set(name: string, value: Value): void {
    this.#variables.set(name, value);
  }
}

type Flow = 'break' | 'continue' | undefined;

/** An item of a loop whose output is wanted, or a `{% generation %}` block (`item` is undefined). */
export interface Region {
  item: Dict | undefined;
  place: Place;
}

/** Runs a template. */
class Interpreter {
  readonly regions: Region[] = [];
  #output = new Output();

  constructor(
    private readonly tracked: ReadonlySet<Dict>,
    private readonly given: ReadonlyMap<string, Value>,
  ) {}

  get output(): Output {
    return this.#output;
  }

  run(body: readonly Statement[], scope: Scope): Flow {
    for (const statement of body) {
      const flow = this.#statement(statement, scope);
      if (flow) return flow;
    }
    return undefined;
  }

  #statement(node: Statement, scope: Scope): Flow {
    switch (node.type) {
      case 'data':
        this.#output.write(node.text, true);
        return undefined;
      case 'print':
        this.#print(node.value, scope);
        return undefined;
      case 'if': {
        const branch = node.branches.find(({ test }) => truth(this.#evaluate(test, scope)));
        return this.run(branch ? branch.body : node.otherwise, scope);
      }
      case 'for':
        this.#for(node, this.#evaluate(node.items, scope), scope, 1);
        return undefined;
      case 'break':
      case 'continue':
        return node.type;
      case 'set':
        this.#assign(node.target, this.#evaluate(node.value, scope), scope);
        return undefined;
      case 'set block': {
        const text = this.#capture(() => this.run(node.body, new Scope(scope)));
        this.#assign(node.target, node.filter ? this.#filter(node.filter, text, scope) : text, scope);
        return undefined;
      }
      case 'with': {
        const inner = new Scope(scope);
        for (const { target, value } of node.variables)
          this.#assign(target, this.#evaluate(value, scope), inner);
        return this.run(node.body, inner);
      }
      case 'macro':
        scope.set(node.name, this.#macro(node.name, node.parameters, node.body, scope));
        return undefined;
      case 'call block': {
        const caller = this.#macro('caller', node.parameters, node.body, scope);
        this.#output.write(str(this.#call(node.call, scope, ['caller', caller])), false);
        return undefined;
      }
      case 'filter block': {
        const text = this.#capture(() => this.run(node.body, new Scope(scope)));
        this.#output.write(str(this.#filter(node.filter, text, scope)), false);
        return undefined;
      }
      case 'generation':
        this.#region(undefined, () => this.run(node.body, new Scope(scope)));
        return undefined;
    }
  }

  /** Prints an expression; literals in a concatenation are text of the template. */
  #print(node: Expression, scope: Scope): void {
    const pieces = this.#pieces(node, scope);
    for (const { value, literal } of pieces) this.#output.write(str(value), literal);
  }

  #pieces(node: Expression, scope: Scope): { value: Value; literal: boolean }[] {
    if (node.type === 'concat') return node.items.flatMap((item) => this.#texts(this.#pieces(item, scope)));
    if (node.type === 'condition' && node.otherwise) {
      return this.#pieces(truth(this.#evaluate(node.test, scope)) ? node.then : node.otherwise, scope);
    }
    if (node.type !== 'binary' || node.operator !== '+') {
      const value = this.#evaluate(node, scope);
      // A string that the caller gives (bos_token, eos_token) is the template's own as well.
      const isGiven =
        node.type === 'name' && typeof value === 'string' && this.given.get(node.name) === value;
      return [{ value, literal: node.type === 'constant' || isGiven }];
    }
    const [left, right] = [this.#pieces(node.left, scope), this.#pieces(node.right, scope)];
    const pieces = [...left, ...right];
    if (pieces.every(({ value }) => typeof value === 'string')) return pieces;
    const joined = (side: typeof pieces) =>
      side.map(({ value }) => value).reduce((a, b) => arithmetic('+', a, b));
    return [{ value: arithmetic('+', joined(left), joined(right)), literal: false }];
  }

  #texts(pieces: readonly { value: Value; literal: boolean }[]): { value: string; literal: boolean }[] {
    return pieces.map(({ value, literal }) => ({ value: str(value), literal }));
  }

  /** What `body` prints. */
  #capture(body: () => unknown): string {
    const outer = this.#output;
    this.#output = new Output();
    try {
      body();
      return this.#output.text;
    } finally {
      this.#output = outer;
    }
  }

  /** Notes where the output of `body` is. */
  #region(item: Dict | undefined, body: () => Flow): Flow {
    const output = this.#output;
    const start = output.text.length;
    const flow = body();
    if (output.text.length > start)
      this.regions.push({ item, place: { output, start, end: output.text.length } });
    return flow;
  }

  #for(node: Statement & { type: 'for' }, value: Value, scope: Scope, depth: number): void {
    const items: Value[] = [];
    for (const item of iterate(value)) {
      const inner = new Scope(scope);
      this.#assign(node.target, item, inner);
      if (!node.test || truth(this.#evaluate(node.test, inner))) items.push(item);
    }
    const recurse = (again: Value) =>
      this.#capture(() => {
        this.#for(node, again, scope, depth + 1);
      });
    const state = new LoopState(items, depth, node.recursive ? recurse : undefined);
    // As in jinja2, a first iteration that is cut short does not count.
    let completed = false;
    for (const item of items) {
      const inner = new Scope(scope);
      this.#assign(node.target, item, inner);
      inner.set('loop', state.loop);
      const body = () => this.run(node.body, inner);
      const flow = item instanceof Dict && this.tracked.has(item) ? this.#region(item, body) : body();
      if (flow === 'break') break;
      if (flow === undefined) completed = true;
      state.next();
    }
    if (!completed) this.run(node.otherwise, new Scope(scope));
  }

  #assign(target: Target, value: Value, scope: Scope): void {
    if (target.type === 'name') {
      scope.set(target.name, value);
    } else if (target.type === 'tuple') {
      unpack(value, target.items.length).forEach((item, i) => {
        this.#assign(target.items[i]!, item, scope);
      });
    } else {
      const namespace = scope.get(target.object);
      if (!(namespace instanceof Namespace)) {
        throw new TemplateError(`cannot assign to field '${target.name}' of what is not a namespace`);
      }
      namespace.fields.set(target.name, value);
    }
  }

  #macro(name: string, parameters: readonly Parameter[], body: readonly Statement[], scope: Scope): Callable {
    return new Callable(name, (args, keywords) => {
      const inner = new Scope(scope);
      const given = bindMacro(name, parameters, body, args, keywords);
      for (const { name: variable, value } of parameters) {
        const fallback = () =>
          value ? this.#evaluate(value, inner) : new Undefined(`parameter '${variable}' was not provided`);
        inner.set(variable, orElse(given.get(variable), fallback));
      }
      for (const [variable, value] of given) inner.set(variable, value);
      return this.#capture(() => this.run(body, inner));
    });
  }

  #arguments(
    args: Arguments,
    scope: Scope,
    extra?: readonly [string, Value],
  ): { args: Value[]; keywords: Keywords } {
    const positional = args.positional.map((argument) => this.#evaluate(argument, scope));
    const keywords = new Map(args.keywords.map(([name, value]) => [name, this.#evaluate(value, scope)]));
    if (extra) keywords.set(...extra);
    if (args.rest) positional.push(...iterate(this.#evaluate(args.rest, scope)));
    if (args.keywordRest) {
      const rest = this.#evaluate(args.keywordRest, scope);
      if (!(rest instanceof Dict))
        throw new TemplateError(`argument after ** must be a mapping, not ${typeName(rest)}`);
      for (const [key, value] of rest.entries()) {
        if (typeof key !== 'string' || keywords.has(key))
          throw new TemplateError(`argument ${str(key)} occurs twice`);
        keywords.set(key, value);
      }
    }
    return { args: positional, keywords };
  }

  #call(node: Expression & { type: 'call' }, scope: Scope, extra?: readonly [string, Value]): Value {
    const callee = defined(this.#evaluate(node.callee, scope));
    if (!(callee instanceof Callable))
      throw new TemplateError(`'${typeName(callee)}' object is not callable`);
    const { args, keywords } = this.#arguments(node.args, scope, extra);
    return callee.call(args, keywords);
  }

  /** Applies filters to the text of a block. */
  #filter(node: Expression, text: string, scope: Scope): Value {
    if (node.type !== 'filter') throw new TemplateError('expected a filter');
    const value = node.value ? this.#filter(node.value, text, scope) : text;
    const { args, keywords } = this.#arguments(node.args, scope);
    return applyFilter(node.name, value, args, keywords);
  }

  #evaluate(node: Expression, scope: Scope): Value {
    switch (node.type) {
      case 'constant':
        return node.value;
      case 'name':
        return orElse(scope.get(node.name), () => new Undefined(`'${node.name}' is undefined`));
      case 'list':
        return node.items.map((item) => this.#evaluate(item, scope));
      case 'tuple':
        return new Tuple(node.items.map((item) => this.#evaluate(item, scope)));
      case 'dict':
        return new Dict(
          node.items.map(
            ([key, value]) => [this.#evaluate(key, scope), this.#evaluate(value, scope)] as const,
          ),
        );
      case 'attribute':
        return getAttribute(this.#evaluate(node.object, scope), node.name);
      case 'item':
        return getItem(this.#evaluate(node.object, scope), this.#evaluate(node.key, scope));
      case 'slice': {
        const bounds = node.bounds.map((bound) => (bound ? this.#evaluate(bound, scope) : null));
        return slice(this.#evaluate(node.object, scope), bounds);
      }
      case 'call':
        return this.#call(node, scope);
      case 'filter': {
        const value = this.#evaluate(node.value!, scope);
        const { args, keywords } = this.#arguments(node.args, scope);
        return applyFilter(node.name, value, args, keywords);
      }
      case 'test': {
        const value = this.#evaluate(node.value, scope);
        const { args, keywords } = this.#arguments(node.args, scope);
        return applyTest(node.name, value, args, keywords);
      }
      case 'unary': {
        const value = this.#evaluate(node.value, scope);
        if (node.operator === 'not') return !truth(value);
        if (node.operator === '-' && typeof value === 'number') return -value;
        if (typeof value === 'string')
          throw new TemplateError(`bad operand type for unary ${node.operator}: 'str'`);
        return arithmetic(node.operator, 0n, value);
      }
      case 'binary':
        return arithmetic(node.operator, this.#evaluate(node.left, scope), this.#evaluate(node.right, scope));
      case 'logic': {
        const left = this.#evaluate(node.left, scope);
        return truth(left) === (node.operator === 'or') ? left : this.#evaluate(node.right, scope);
      }
      case 'concat':
        return node.items.map((item) => str(this.#evaluate(item, scope))).join('');
      case 'compare': {
        let left = this.#evaluate(node.first, scope);
        return node.rest.every(({ operator, value }) => {
          const right = this.#evaluate(value, scope);
          const holds = compareBy(operator, left, right);
          left = right;
          return holds;
        });
      }
      case 'condition':
        if (truth(this.#evaluate(node.test, scope))) return this.#evaluate(node.then, scope);
        if (node.otherwise) return this.#evaluate(node.otherwise, scope);
        return new Undefined('the inline if-expression evaluated to false and no else section was defined.');
    }
  }
}

export interface Rendering {
  output: Output;
  /** In the order in which they end. */
  regions: Region[];
}

/**
 * Renders a parsed template.
 *
 * @param tracked items of loops whose output is noted as regions
 * @throws what the template raises, and for everything that Python would not render or that is not supported
 */
export function interpret(
  body: readonly Statement[],
  variables: ReadonlyMap<string, Value>,
  tracked: ReadonlySet<Dict> = new Set(),
): Rendering {
  const globals = new Scope();
  for (const [name, value] of globalFunctions()) globals.set(name, value);
  const context = new Scope(globals);
  for (const [name, value] of variables) context.set(name, value);
  const interpreter = new Interpreter(tracked, variables);
  interpreter.run(body, new Scope(context));
  return { output: interpreter.output, regions: interpreter.regions };
}
