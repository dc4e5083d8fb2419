/** Syntax tree of a template. */

export type BinaryOperator = '+' | '-' | '*' | '/' | '//' | '%' | '**';
export type Comparison = '==' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | 'not in';

export interface Arguments {
  positional: Expression[];
  keywords: [name: string, value: Expression][];
  /** `*list` and `**dict`. */
  rest?: Expression;
  keywordRest?: Expression;
}

export type Expression =
  | { type: 'constant'; value: null | boolean | bigint | number | string }
  | { type: 'name'; name: string }
  | { type: 'list' | 'tuple'; items: Expression[] }
  | { type: 'dict'; items: [key: Expression, value: Expression][] }
  | { type: 'attribute'; object: Expression; name: string }
  | { type: 'item'; object: Expression; key: Expression }
  | { type: 'slice'; object: Expression; bounds: (Expression | undefined)[] }
  | { type: 'call'; callee: Expression; args: Arguments }
  | { type: 'filter'; value: Expression | undefined; name: string; args: Arguments }
  | { type: 'test'; value: Expression; name: string; args: Arguments }
  | { type: 'unary'; operator: '+' | '-' | 'not'; value: Expression }
  | { type: 'binary'; operator: BinaryOperator; left: Expression; right: Expression }
  | { type: 'logic'; operator: 'and' | 'or'; left: Expression; right: Expression }
  | { type: 'concat'; items: Expression[] }
  | { type: 'compare'; first: Expression; rest: { operator: Comparison; value: Expression }[] }
  | { type: 'condition'; test: Expression; then: Expression; otherwise: Expression | undefined };

export type Target =
  | { type: 'name'; name: string }
  | { type: 'tuple'; items: Target[] }
  | { type: 'field'; object: string; name: string };

export interface Parameter {
  name: string;
  value: Expression | undefined;
}

export type Statement =
  | { type: 'data'; text: string }
  | { type: 'print'; value: Expression }
  | { type: 'if'; branches: { test: Expression; body: Statement[] }[]; otherwise: Statement[] }
  | {
      type: 'for';
      target: Target;
      items: Expression;
      test: Expression | undefined;
      recursive: boolean;
      body: Statement[];
      otherwise: Statement[];
    }
  | { type: 'break' | 'continue' }
  | { type: 'set'; target: Target; value: Expression }
  | { type: 'set block'; target: Target; filter: Expression | undefined; body: Statement[] }
  | { type: 'with'; variables: { target: Target; value: Expression }[]; body: Statement[] }
  | { type: 'macro'; name: string; parameters: Parameter[]; body: Statement[] }
  | { type: 'call block'; call: Expression & { type: 'call' }; parameters: Parameter[]; body: Statement[] }
  | { type: 'filter block'; filter: Expression; body: Statement[] }
  | { type: 'generation'; body: Statement[] };
