import { ExpressionParser } from './expression-parser.js';
import { tokenize } from './lexer.js';
import type { Expression, Parameter, Statement, Target } from './syntax.js';

const UNSUPPORTED = new Set(['block', 'extends', 'include', 'from', 'import', 'autoescape']);

/** Parses statements: the grammar of jinja2 with the tags that chat templates may use. */
class Parser extends ExpressionParser {
  #loops = 0;

  /** Statements up to a tag of one of these names, which is left current; to the end of the template without any. */
  statements(...ends: string[]): Statement[] {
    const body: Statement[] = [];
    for (;;) {
      const token = this.next();
      if (token.type === 'data') {
        body.push({ type: 'data', text: token.text });
      } else if (token.type === 'print begin') {
        body.push({ type: 'print', value: this.tuple() });
        this.expect('print end');
      } else if (token.type === 'block begin') {
        if (this.current.type === 'name' && ends.includes(this.current.text)) return body;
        body.push(...this.#statement());
        this.expect('block end');
      } else if (ends.length > 0) {
        this.fail(`expected {% ${ends.join(' %} or {% ')} %}, received the end of the template`);
      } else {
        return body;
      }
    }
  }

  /** Body of a tag, and the name of the tag that ends it. */
  #body(...ends: string[]): { body: Statement[]; end: string } {
    this.skip('operator', ':');
    this.expect('block end');
    const body = this.statements(...ends);
    return { body, end: this.next().text };
  }

  #statement(): Statement[] {
    const tag = this.expect('name').text;
    switch (tag) {
      case 'if':
        return [this.#if()];
      case 'for':
        return [this.#for()];
      case 'break':
      case 'continue':
        if (this.#loops === 0) this.fail(`{% ${tag} %} outside of a loop`);
        return [{ type: tag }];
      case 'set':
        return [this.#set()];
      case 'with':
        return [this.#with()];
      case 'print':
        return this.#print();
      case 'macro': {
        const name = this.#name();
        return [{ type: 'macro', name, ...this.#signature(), body: this.#apart('endmacro') }];
      }
      case 'call':
        return [this.#call()];
      case 'filter':
        return [
          { type: 'filter block', filter: this.filters(undefined, true)!, body: this.#apart('endfilter') },
        ];
      case 'generation':
        return [{ type: 'generation', body: this.#apart('endgeneration') }];
      default:
        return this.fail(`${UNSUPPORTED.has(tag) ? 'unsupported' : 'unknown'} tag {% ${tag} %}`);
    }
  }

  /** A body that is a function of its own: no `break` leaves it. */
  #apart(end: string): Statement[] {
    const loops = this.#loops;
    this.#loops = 0;
    const { body } = this.#body(end);
    this.#loops = loops;
    return body;
  }

  #if(): Statement {
    const branches: { test: Expression; body: Statement[] }[] = [];
    for (;;) {
      const test = this.tuple({ condition: false });
      const { body, end } = this.#body('elif', 'else', 'endif');
      branches.push({ test, body });
      if (end === 'else') return { type: 'if', branches, otherwise: this.#body('endif').body };
      if (end === 'endif') return { type: 'if', branches, otherwise: [] };
    }
  }

  #for(): Statement {
    const target = this.#target('in');
    this.expect('name', 'in');
    const items = this.tuple({ condition: false, end: 'recursive' });
    const test = this.skip('name', 'if') ? this.expression() : undefined;
    const recursive = this.skip('name', 'recursive');
    this.#loops++;
    const { body, end } = this.#body('endfor', 'else');
    this.#loops--;
    const otherwise = end === 'else' ? this.#body('endfor').body : [];
    return { type: 'for', target, items, test, recursive, body, otherwise };
  }

  #set(): Statement {
    const target = this.#target(undefined, true);
    if (this.skip('operator', '=')) return { type: 'set', target, value: this.tuple() };
    const filter = this.filters(undefined);
    return { type: 'set block', target, filter, body: this.#apart('endset') };
  }

  #with(): Statement {
    const variables: { target: Target; value: Expression }[] = [];
    while (this.current.type !== 'block end') {
      if (variables.length > 0) this.expect('operator', ',');
      const target = this.#target();
      this.expect('operator', '=');
      variables.push({ target, value: this.expression() });
    }
    return { type: 'with', variables, body: this.#body('endwith').body };
  }

  #print(): Statement[] {
    const printed: Statement[] = [];
    while (this.current.type !== 'block end') {
      if (printed.length > 0) this.expect('operator', ',');
      printed.push({ type: 'print', value: this.expression() });
    }
    return printed;
  }

  #call(): Statement {
    const parameters = this.at('operator', '(') ? this.#signature().parameters : [];
    const call = this.expression();
    if (call.type !== 'call') return this.fail('{% call %} expects a call');
    return { type: 'call block', call, parameters, body: this.#apart('endcall') };
  }

  #signature(): { parameters: Parameter[] } {
    const parameters: Parameter[] = [];
    this.expect('operator', '(');
    while (!this.at('operator', ')')) {
      if (parameters.length > 0) this.expect('operator', ',');
      const name = this.#name();
      const value = this.skip('operator', '=') ? this.expression() : undefined;
      if (!value && parameters.at(-1)?.value)
        this.fail('a parameter without a default follows one with a default');
      parameters.push({ name, value });
    }
    this.expect('operator', ')');
    return { parameters };
  }

  #name(): string {
    const target = this.#assignable({ type: 'name', name: this.expect('name').text });
    return (target as { name: string }).name;
  }

  /** What is assigned to: a name, a tuple of such, or a field of a namespace. */
  #target(end?: string, fields = false): Target {
    const token = this.current;
    if (fields && token.type === 'name' && this.peek().type === 'operator' && this.peek().text === '.') {
      this.next();
      this.next();
      const field: Target = { type: 'field', object: token.text, name: this.expect('name').text };
      if (this.at('operator', ',')) this.fail('unsupported: a field of a namespace among several targets');
      return field;
    }
    return this.#assignable(this.tuple({ simple: true, end }));
  }

  #assignable(node: Expression): Target {
    if (node.type === 'tuple')
      return { type: 'tuple', items: node.items.map((item) => this.#assignable(item)) };
    if (node.type !== 'name') return this.fail(`cannot assign to a ${node.type}`);
    // What `loop` means after that differs between versions and places.
    if (node.name === 'loop') this.fail('cannot assign to loop');
    return node;
  }
}

/**
 * Parses a chat template.
 *
 * @throws TemplateSyntaxError naming the line
 */
export function parse(source: string): Statement[] {
  return new Parser(tokenize(source)).statements();
}
