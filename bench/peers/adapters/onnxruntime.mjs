#!/usr/bin/env node
// ONNX Runtime as a peer of whittle_compare_peers: runs a graph of export_onnx.py, greedy, one sequence.
// The npm package onnxruntime-node is looked for from the current folder upwards, and in NODE_PATH.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const usage = `usage: onnxruntime.mjs MODEL [--prompt-tokens N] [--gen-tokens N] [--threads N] [--ids 1,2,3]
Times the graph that export_onnx.py wrote to the folder MODEL; prints the figures as JSON.
  --ids   print the greedy continuation of this prompt, and time nothing`;

function stop(message, code = 1) {
  console.error(`onnxruntime.mjs: ${message}`);
  process.exit(code);
}

function readFlags() {
  const number = (fallback) => ({ type: 'string', default: String(fallback) });
  const options = {
    'prompt-tokens': number(512),
    'gen-tokens': number(64),
    threads: number(availableParallelism()),
    ids: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  };
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    const count = (name) => {
      if (!/^[1-9][0-9]{0,8}$/.test(values[name])) throw new Error(`--${name}: expected a number above 0`);
      return Number(values[name]);
    };
    if (positionals.length !== 1) throw new Error('expected one MODEL');
    if (values.ids !== undefined && !/^[0-9]{1,9}(,[0-9]{1,9})*$/.test(values.ids))
      throw new Error('--ids: expected numbers with commas');
    return {
      folder: positionals[0],
      promptTokens: count('prompt-tokens'),
      genTokens: count('gen-tokens'),
      threads: count('threads'),
      ids: values.ids?.split(',').map(Number),
    };
  } catch (error) {
    stop(`${error.message}\n${usage}`, 2);
  }
}

function loadRuntime() {
  try {
    return createRequire(join(process.cwd(), 'from-here'))('onnxruntime-node');
  } catch (error) {
    stop(`${error.message.split('\n')[0]}: run "npm install onnxruntime-node" in the current folder, or name its node_modules in NODE_PATH`);
  }
}

function readShape(folder) {
  const path = join(folder, 'shape.json');
  try {
    const shape = JSON.parse(readFileSync(path, 'utf8'));
    for (const key of ['layers', 'kv_heads', 'head_dim', 'vocab', 'positions'])
      if (!Number.isSafeInteger(shape[key]) || shape[key] < 1) throw new Error(`${key}: expected a number above 0`);
    return shape;
  } catch (error) {
    stop(`${path}: ${error.message}: expected what export_onnx.py writes`);
  }
}

class Decoder {
  constructor(runtime, session, shape, context) {
    this.runtime = runtime;
    this.session = session;
    // The same memory goes in and comes out, so that keys and values are written in place.
    this.caches = { in: {}, out: {} };
    for (let i = 0; i < shape.layers; ++i)
      for (const kind of ['key', 'value']) {
        const values = new Float32Array(shape.kv_heads * context * shape.head_dim);
        const cache = new runtime.Tensor('float32', values, [1, shape.kv_heads, context, shape.head_dim]);
        this.caches.in[`past_${kind}${i}`] = cache;
        this.caches.out[`present_${kind}${i}`] = cache;
      }
    this.token = new runtime.Tensor('int64', new BigInt64Array(1), [1, 1]);
  }

  // The most likely token after `ids`, of which the first stands at position `begin`.
  async forward(ids, begin) {
    const { Tensor } = this.runtime;
    const total = begin + ids.length;
    const inputs = {
      ids: new Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]),
      last_positions: new Tensor('int32', Int32Array.of(total - 1), [1]),
      total_length: new Tensor('int32', Int32Array.of(total), []),
      ...this.caches.in,
    };
    await this.session.run(inputs, { token: this.token, ...this.caches.out });
    return Number(this.token.data[0]);
  }
}

// The tokens after the prompt, the seconds of the prompt, and those of the steps.
async function generate(decoder, ids, steps) {
  const start = performance.now();
  const tokens = [await decoder.forward(ids, 0)];
  const promptEnd = performance.now();
  for (let step = 0; step < steps; ++step)
    tokens.push(await decoder.forward([tokens.at(-1)], ids.length + step));
  return { tokens, promptSeconds: (promptEnd - start) / 1e3, stepSeconds: (performance.now() - promptEnd) / 1e3 };
}

const flags = readFlags();
const runtime = loadRuntime();
const shape = readShape(flags.folder);
const ids = flags.ids ?? Array.from({ length: flags.promptTokens }, (_, i) => (7919 * i + 1) % shape.vocab);
if (Math.max(...ids) >= shape.vocab) stop(`--ids: the model has the ids 0 to ${shape.vocab - 1}`);
const context = ids.length + flags.genTokens;
if (context > shape.positions) stop(`${flags.folder}: ${context} tokens, and it has ${shape.positions} positions`);

try {
  const session = await runtime.InferenceSession.create(join(flags.folder, 'model.onnx'), {
    executionProviders: ['cpu'],
    graphOptimizationLevel: 'all',
    intraOpNumThreads: flags.threads,
    interOpNumThreads: 1,
  });
  const decoder = new Decoder(runtime, session, shape, context);
  if (flags.ids) {
    const { tokens } = await generate(decoder, ids, flags.genTokens - 1);
    console.log(JSON.stringify({ ids: tokens }));
  } else {
    await generate(decoder, ids, 1); // warm-up
    const { promptSeconds, stepSeconds } = await generate(decoder, ids, flags.genTokens);
    console.log(JSON.stringify({
      program: `ONNX Runtime ${runtime.env.versions.node ?? ''}`.trim(),
      mode: shape.mode,
      prefill_tokens_per_s: ids.length / promptSeconds,
      decode_tokens_per_s: flags.genTokens / stepSeconds,
    }));
  }
} catch (error) {
  stop(error.message);
}
