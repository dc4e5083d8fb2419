import { TemplateSyntaxError, type Token, type TokenType } from './lexer.js';
import type { Arguments, BinaryOperator, Comparison, Expression } from './syntax.js';

const CONSTANTS: ReadonlyMap<string, null | boolean> = new Map([
  ['true', true],
  ['True', true],
  ['false', false],
  ['False', false],
  ['none', null],
  ['None', null],
]);
const COMPARISONS = ['==', '!=', '<', '<=', '>', '>='];

interface TupleOptions {
  /** Whether items may be `a if b else c`. */
  condition?: boolean;
  /** Items are names and literals only. */
  simple?: boolean;
  /** Name that ends the tuple besides what closes a tag or a parenthesis. */
  end?: string | undefined;
  /** In parentheses, where nothing at all is the empty tuple. */
  parentheses?: boolean;
}

/** Parses expressions with jinja2's precedences, which are not Python's in places (`~`, filters, tests). */
export class ExpressionParser {
  #at = 0;

  constructor(private readonly tokens: readonly Token[]) {}

  protected get current(): Token {
    return this.tokens[this.#at]!;
  }

  protected peek(): Token {
    return this.tokens[Math.min(this.#at + 1, this.tokens.length - 1)]!;
  }

  protected next(): Token {
    const token = this.current;
    if (token.type !== 'end') this.#at++;
    return token;
  }

  protected at(type: TokenType, text?: string): boolean {
    return this.current.type === type && (text === undefined || this.current.text === text);
  }

  protected skip(type: TokenType, text?: string): boolean {
    const found = this.at(type, text);
    if (found) this.next();
    return found;
  }

  protected expect(type: TokenType, text?: string): Token {
    if (this.at(type, text)) return this.next();
    return this.fail(`expected ${text ?? type}, received ${this.#describeCurrent()}`);
  }

  protected fail(message: string): never {
    throw new TemplateSyntaxError(message, this.current.line);
  }

  #describeCurrent(): string {
    const { type, text } = this.current;
    return type === 'name' || type === 'operator' || type === 'number' ? text : type;
  }

  protected expression(condition = true): Expression {
    let node = this.#or();
    while (condition && this.skip('name', 'if')) {
      const test = this.#or();
      const otherwise = this.skip('name', 'else') ? this.expression() : undefined;
      node = { type: 'condition', test, then: node, otherwise };
    }
    return node;
  }

  protected tuple(options: TupleOptions = {}): Expression {
    const items: Expression[] = [];
    let isTuple = false;
    for (;;) {
      if (items.length > 0) this.expect('operator', ',');
      if (this.#endsTuple(options.end)) break;
      items.push(options.simple ? this.#primary() : this.expression(options.condition));
      if (!this.at('operator', ',')) break;
      isTuple = true;
    }
    if (!isTuple && items[0]) return items[0];
    if (!isTuple && !options.parentheses)
      this.fail(`expected an expression, received ${this.#describeCurrent()}`);
    return { type: 'tuple', items };
  }

  #endsTuple(end: string | undefined): boolean {
    if (this.at('print end') || this.at('block end') || this.at('operator', ')')) return true;
    return end !== undefined && this.at('name', end);
  }

  #or(): Expression {
    let left = this.#and();
    while (this.skip('name', 'or')) left = { type: 'logic', operator: 'or', left, right: this.#and() };
    return left;
  }

  #and(): Expression {
    let left = this.#not();
    while (this.skip('name', 'and')) left = { type: 'logic', operator: 'and', left, right: this.#not() };
    return left;
  }

  #not(): Expression {
    if (this.skip('name', 'not')) return { type: 'unary', operator: 'not', value: this.#not() };
    return this.#compare();
  }

  #compare(): Expression {
    const first = this.#binary(0);
    const rest: { operator: Comparison; value: Expression }[] = [];
    for (;;) {
      let operator: string;
      if (this.current.type === 'operator' && COMPARISONS.includes(this.current.text)) {
        operator = this.next().text;
      } else if (this.skip('name', 'in')) {
        operator = 'in';
      } else if (this.at('name', 'not') && this.peek().type === 'name' && this.peek().text === 'in') {
        this.next();
        this.next();
        operator = 'not in';
      } else {
        return rest.length === 0 ? first : { type: 'compare', first, rest };
      }
      rest.push({ operator: operator as Comparison, value: this.#binary(0) });
    }
  }

  /** Levels: sums, `~`, products, powers; all of them from the left. */
  #binary(level: number): Expression {
    if (level === 1) return this.#concat();
    const operators = [['+', '-'], [], ['*', '/', '//', '%'], ['**']][level]!;
    const operand = () => (level === 3 ? this.#unary() : this.#binary(level + 1));
    let left = operand();
    while (this.current.type === 'operator' && operators.includes(this.current.text)) {
      const operator = this.next().text as BinaryOperator;
      left = { type: 'binary', operator, left, right: operand() };
    }
    return left;
  }

  #concat(): Expression {
    const items = [this.#binary(2)];
    while (this.skip('operator', '~')) items.push(this.#binary(2));
    return items.length === 1 ? items[0]! : { type: 'concat', items };
  }

  #unary(filters = true): Expression {
    let node: Expression;
    if (this.at('operator', '-') || this.at('operator', '+')) {
      const operator = this.next().text as '+' | '-';
      node = { type: 'unary', operator, value: this.#unary(false) };
    } else {
      node = this.#primary();
    }
    node = this.#postfix(node);
    return filters ? this.#filtersAndTests(node) : node;
  }

  #primary(): Expression {
    const token = this.next();
    if (token.type === 'name') {
      const value = CONSTANTS.get(token.text);
      return value === undefined ? { type: 'name', name: token.text } : { type: 'constant', value };
    }
    if (token.type === 'string') {
      let value = token.text;
      while (this.at('string')) value += this.next().text;
      return { type: 'constant', value };
    }
    if (token.type === 'number') return { type: 'constant', value: token.value! };
    if (token.type === 'operator' && token.text === '(') {
      const node = this.tuple({ parentheses: true });
      this.expect('operator', ')');
      return node;
    }
    if (token.type === 'operator' && token.text === '[') return { type: 'list', items: this.#items(']') };
    if (token.type === 'operator' && token.text === '{') return this.#dict();
    throw new TemplateSyntaxError(`unexpected ${token.text || token.type}`, token.line);
  }

  /** Expressions with commas between them, and perhaps one at the end. */
  #items(end: string): Expression[] {
    const items: Expression[] = [];
    while (!this.at('operator', end)) {
      if (items.length > 0) this.expect('operator', ',');
      if (this.at('operator', end)) break;
      items.push(this.expression());
    }
    this.expect('operator', end);
    return items;
  }

  #dict(): Expression {
    const items: [Expression, Expression][] = [];
    while (!this.at('operator', '}')) {
      if (items.length > 0) this.expect('operator', ',');
      if (this.at('operator', '}')) break;
      const key = this.expression();
      this.expect('operator', ':');
      items.push([key, this.expression()]);
    }
    this.expect('operator', '}');
    return { type: 'dict', items };
  }

  #postfix(object: Expression): Expression {
    let node = object;
    for (;;) {
      if (this.skip('operator', '.')) node = this.#attribute(node);
      else if (this.skip('operator', '[')) node = this.#subscript(node);
      else if (this.at('operator', '(')) node = { type: 'call', callee: node, args: this.#arguments() };
      else return node;
    }
  }

  #attribute(object: Expression): Expression {
    const token = this.next();
    if (token.type === 'name') return { type: 'attribute', object, name: token.text };
    if (token.type === 'number' && typeof token.value === 'bigint') {
      return { type: 'item', object, key: { type: 'constant', value: token.value } };
    }
    return this.fail('expected a name or a number after "."');
  }

  #subscript(object: Expression): Expression {
    const bounds: (Expression | undefined)[] = [];
    let colons = 0;
    while (!this.at('operator', ']')) {
      if (this.at('operator', ',')) this.fail('unsupported: a tuple as a subscript');
      if (this.skip('operator', ':')) colons++;
      else if (bounds[colons]) this.expect('operator', ':');
      else bounds[colons] = this.expression();
      if (colons > 2) this.fail('unexpected :');
    }
    this.next();
    if (colons > 0) return { type: 'slice', object, bounds: [bounds[0], bounds[1], bounds[2]] };
    return bounds[0] ? { type: 'item', object, key: bounds[0] } : this.fail('expected a subscript');
  }

  #arguments(): Arguments {
    const args: Arguments = { positional: [], keywords: [] };
    this.expect('operator', '(');
    let first = true;
    while (!this.at('operator', ')')) {
      if (!first) this.expect('operator', ',');
      if (!first && this.at('operator', ')')) break;
      first = false;
      if (args.keywordRest) this.fail('an argument follows **');
      if (this.skip('operator', '*')) {
        if (args.rest) this.fail('* occurs twice');
        args.rest = this.expression();
      } else if (this.skip('operator', '**')) {
        args.keywordRest = this.expression();
      } else if (
        this.current.type === 'name' &&
        this.peek().type === 'operator' &&
        this.peek().text === '='
      ) {
        const name = this.next().text;
        this.next();
        if (args.keywords.some(([other]) => other === name)) this.fail(`argument ${name} occurs twice`);
        args.keywords.push([name, this.expression()]);
      } else {
        if (args.rest || args.keywords.length > 0)
          this.fail('an argument without a name follows a named one');
        args.positional.push(this.expression());
      }
    }
    this.expect('operator', ')');
    return args;
  }

  #filtersAndTests(value: Expression): Expression {
    let node = value;
    for (;;) {
      if (this.at('operator', '|')) node = this.filters(node)!;
      else if (this.skip('name', 'is')) node = this.#test(node);
      else if (this.at('operator', '(')) node = { type: 'call', callee: node, args: this.#arguments() };
      else return node;
    }
  }

  /** `|name(…)|…` after a value; of a block without the first `|`. */
  protected filters(value: Expression | undefined, block = false): Expression | undefined {
    let node = value;
    let bare = block;
    while (bare || this.skip('operator', '|')) {
      bare = false;
      const name = this.#dottedName();
      const args = this.at('operator', '(') ? this.#arguments() : { positional: [], keywords: [] };
      node = { type: 'filter', value: node, name, args };
    }
    return node;
  }

  #test(value: Expression): Expression {
    const negated = this.skip('name', 'not');
    const name = this.#dottedName();
    let args: Arguments = { positional: [], keywords: [] };
    if (this.at('operator', '(')) {
      args = this.#arguments();
    } else if (this.#startsArgument()) {
      if (this.at('name', 'is')) this.fail('tests cannot be chained with is');
      args.positional.push(this.#postfix(this.#primary()));
    }
    const node: Expression = { type: 'test', value, name, args };
    return negated ? { type: 'unary', operator: 'not', value: node } : node;
  }

  #startsArgument(): boolean {
    const { type, text } = this.current;
    if (type === 'name') return !['else', 'or', 'and'].includes(text);
    return type === 'string' || type === 'number' || (type === 'operator' && (text === '[' || text === '{'));
  }

  #dottedName(): string {
    let name = this.expect('name').text;
    while (this.skip('operator', '.')) name += `.${this.expect('name').text}`;
    return name;
  }
}
