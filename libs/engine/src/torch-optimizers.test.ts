/** Optimizers, clipping and schedules beside PyTorch's own, which run in double precision. */
import { ok } from "node:assert/strict";
import { test } from "node:test";
import {
  adam,
  adamW,
  clipByGlobalNorm,
  clipByValue,
  cosine,
  exponentialDecay,
  linear,
  momentum,
  type Optimizer,
  oneCycle,
  polynomial,
  type Schedule,
  sgd,
  stepDecay,
} from "@coxswain/program";
import { askTorch, findTorch } from "./testing-torch.ts";

/** Of float32 against float64, after all steps; the parameters are about 1. */
const errorMax = 1e-5;
const [steps, floats] = [50, 32];
/** Two tensors. */
const tensors = [
  { from: 0, to: 16 },
  { from: 16, to: floats },
];
const start = Array.from({ length: floats }, (_, i) => Math.fround(Math.sin(i * 1.7)));
const gradients = Array.from({ length: steps }, (_, step) =>
  Array.from({ length: floats }, (_, i) => Math.fround(Math.cos(i * 0.37 + step * 1.3) * (i % 5))),
);

/** Ours, and the same in Python: an optimizer of `p`, then what clips the gradients of `p`. */
const optimizers: Readonly<Record<string, readonly [Optimizer, string, string?]>> = {
  SGD: [sgd({ learningRate: 0.01 }), "O.SGD(p, lr=0.01)"],
  momentum: [momentum({ learningRate: 0.01 }), "O.SGD(p, lr=0.01, momentum=0.9)"],
  Nesterov: [
    momentum({ learningRate: 0.01, momentum: 0.8, nesterov: true }),
    "O.SGD(p, lr=0.01, momentum=0.8, nesterov=True)",
  ],
  Adam: [adam({ learningRate: 0.01 }), "O.Adam(p, lr=0.01)"],
  AdamW: [adamW({ learningRate: 0.01, weightDecay: 0.1 }), "O.AdamW(p, lr=0.01, weight_decay=0.1)"],
  "clipped by value": [
    clipByValue(sgd({ learningRate: 0.01 }), 0.5),
    "O.SGD(p, lr=0.01)",
    "torch.nn.utils.clip_grad_value_(p, 0.5)",
  ],
  "clipped by the global norm": [
    clipByGlobalNorm(adam({ learningRate: 0.01 }), 2),
    "O.Adam(p, lr=0.01)",
    "torch.nn.utils.clip_grad_norm_(p, 2)",
  ],
};

const schedules: Readonly<Record<string, readonly [Schedule, string]>> = {
  StepLR: [stepDecay({ from: 0.5, everySteps: 20, factor: 0.3 }), "S.StepLR(o, 20, 0.3)"],
  ExponentialLR: [exponentialDecay({ from: 0.5, factor: 0.97 }), "S.ExponentialLR(o, 0.97)"],
  CosineAnnealingLR: [
    cosine({ from: 0.5, to: 0.1, steps }),
    `S.CosineAnnealingLR(o, ${steps}, eta_min=0.1)`,
  ],
  LinearLR: [
    linear({ from: 0.5, to: 0.05, steps: 40 }),
    "S.LinearLR(o, start_factor=1.0, end_factor=0.1, total_iters=40)",
  ],
  PolynomialLR: [
    polynomial({ from: 0.5, steps: 40, power: 2 }),
    "S.PolynomialLR(o, total_iters=40, power=2.0)",
  ],
  // PyTorch counts the peak's step and the last one as ends: 15 steps up, then the rest down.
  OneCycleLR: [
    oneCycle({ peak: 0.5, steps: steps - 1, peakAt: 14 }),
    `S.OneCycleLR(o, max_lr=0.5, total_steps=${steps}, pct_start=0.3)`,
  ],
};

const script = `
import json, sys, torch
import torch.optim as O
import torch.optim.lr_scheduler as S
given = json.load(sys.stdin)
def train(source, clip):
    p = [torch.nn.Parameter(torch.tensor(part, dtype=torch.float64)) for part in given["start"]]
    scope = {"torch": torch, "O": O, "p": p}
    o = eval(source, scope)
    for gradient in given["gradients"]:
        for one, values in zip(p, gradient): one.grad = torch.tensor(values, dtype=torch.float64)
        if clip: eval(clip, scope)
        o.step()
    return [value for one in p for value in one.tolist()]
def rates(source):
    o = O.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    s = eval(source, {"S": S, "o": o})
    out = []
    for _ in given["gradients"]:
        out.append(s.get_last_lr()[0])
        o.step()
        s.step()
    return out
print(json.dumps({
    "trained": {name: train(*how) for name, how in given["optimizers"].items()},
    "rates": {name: rates(how) for name, how in given["schedules"].items()},
}))
`;

interface FromTorch {
  readonly trained: Readonly<Record<string, readonly number[]>>;
  readonly rates: Readonly<Record<string, readonly number[]>>;
}

const python = findTorch(process.env);
const skip = python === undefined ? "no Python with torch was found" : false;
const inTensors = (values: readonly number[]) =>
  tensors.map(({ from, to }) => values.slice(from, to));
let answer: FromTorch | undefined;
const theirs = () => {
  answer ??= askTorch<FromTorch>(python!, script, {
    start: inTensors(start),
    gradients: gradients.map(inTensors),
    optimizers: Object.fromEntries(
      Object.entries(optimizers).map(([name, [, source, clip = ""]]) => [name, [source, clip]]),
    ),
    schedules: Object.fromEntries(
      Object.entries(schedules).map(([name, [, source]]) => [name, source]),
    ),
  });
  return answer;
};

for (const [name, [optimizer]] of Object.entries(optimizers)) {
  test(`beside PyTorch: ${name}`, { skip }, (t) => {
    const parameters = Float32Array.from(start);
    const slots = Array.from({ length: optimizer.slotCount }, () => new Float32Array(floats));
    for (const [step, values] of gradients.entries())
      optimizer.update({ step, parameters, slots, gradient: Float32Array.from(values), tensors });
    const wanted = theirs().trained[name]!;
    const error = Math.max(...wanted.map((value, i) => Math.abs(value - parameters[i]!)));
    t.diagnostic(`greatest difference ${error.toExponential(1)}`);
    ok(error <= errorMax, `${error} after ${steps} steps`);
  });
}

for (const [name, [schedule]] of Object.entries(schedules)) {
  test(`beside PyTorch: ${name}`, { skip }, () => {
    for (const [step, rate] of theirs().rates[name]!.entries())
      ok(Math.abs(schedule(step) - rate) < 1e-12, `step ${step}: ${schedule(step)}, not ${rate}`);
  });
}
