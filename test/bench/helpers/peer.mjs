// Stands in for the Python side of `ttt`: another eyas, whose losses are multiplied by the first argument.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const factor = Number(process.argv[2]);
const script = fileURLToPath(new URL('../../../scripts/bench/eyas/ttt.mjs', import.meta.url));
const eyas = spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', 'inherit'] });
const answers = createInterface({ input: eyas.stdout })[Symbol.asyncIterator]();

for await (const line of createInterface({ input: process.stdin })) {
  eyas.stdin.write(`${JSON.stringify({ rules: 'tokens', ...JSON.parse(line) })}\n`);
  const answer = JSON.parse((await answers.next()).value);
  if (answer.step_loss) {
    answer.step_loss = answer.step_loss.map((loss) => factor * loss);
    answer.loss *= factor;
  }
  console.log(JSON.stringify(answer));
}
eyas.stdin.end();
