// OpenMP's waiting threads spin by default, which on shared or few cores makes every parallel loop wait for the
// scheduler (measured: 10 to 50 times slower beside another program). The library reads this when it is loaded; a worker
// thread cannot set it, so modules that start workers import this too.
process.env['OMP_WAIT_POLICY'] ??= 'passive';
// A few microseconds of spinning bridge the gap between two operations (measured: a training step is 4% faster with the
// machine to itself, and 4% slower beside a program that keeps every core busy).
process.env['GOMP_SPINCOUNT'] ??= '1000';
