/** An experiment as the original ran it: Kubernetes, and its autoscaler every 5 s where that is on. */
import {
  clusterNodes,
  type Experiment,
  pserversPerJob,
  type Run,
  type Sample,
  shapes,
} from "./experiment.ts";
import { Kubernetes } from "./kubernetes.ts";
import { decideParallelism, type Inventory, type Rules } from "./original-autoscaler.ts";

const autoscaleEveryMs = 5000;
/** Time before the experiment, in which the online service comes up. */
const settleMs = 60_000;

/** `rules` undefined: its autoscaler is off. */
export function runOriginal(experiment: Experiment, rules: Rules | undefined, seed: number): Run {
  const nodes = clusterNodes(seed);
  const kubernetes = new Kubernetes(nodes, seed);
  const start = experiment.trainersAtStart[rules === undefined ? "off" : "on"];
  const parallelism = new Map<number, number>();
  for (const { atS, pods } of experiment.online)
    kubernetes.at(atS === 0 ? 0 : settleMs + atS * 1000, () =>
      kubernetes.scale("nginx", shapes.nginx, pods),
    );
  const autoscale = () => {
    if (rules === undefined) return;
    const wanted = decideParallelism(
      jobsOf(experiment, kubernetes, parallelism),
      inventoryOf(kubernetes),
      rules,
    );
    for (const [name, count] of wanted) {
      const job = Number(name);
      parallelism.set(job, count);
      kubernetes.scale(`trainer-${job}`, shapes.trainer, count, true);
    }
  };
  for (const [job, atS] of experiment.submitAtS.entries())
    kubernetes.at(settleMs + atS * 1000, () => {
      parallelism.set(job, start);
      kubernetes.scale(`master-${job}`, shapes.master, 1);
      kubernetes.scale(`pserver-${job}`, shapes.pserver, pserversPerJob);
      kubernetes.scale(`trainer-${job}`, shapes.trainer, start, true);
      autoscale();
    });
  for (let atMs = 0; atMs < experiment.endS * 1000; atMs += autoscaleEveryMs)
    kubernetes.at(settleMs + atMs + 2500, autoscale);
  const samples: Sample[] = [];
  for (let atS = 0; atS <= experiment.endS; atS += 1) {
    kubernetes.runUntil(settleMs + atS * 1000);
    samples.push(sampleOf(experiment, kubernetes, atS));
  }
  const cpuTotal = nodes.reduce((sum, { cpu }) => sum + cpu, 0);
  return {
    experiment,
    cpuTotal,
    samples,
    gone: { left: 0, killed: kubernetes.kills.get("trainer") ?? 0 },
  };
}

function jobsOf(
  experiment: Experiment,
  kubernetes: Kubernetes,
  parallelism: ReadonlyMap<number, number>,
) {
  return [...parallelism].map(([job, count]) => {
    const pods = kubernetes.pods(`trainer-${job}`);
    const inPhase = (...phases: string[]) =>
      pods.filter(({ phase }) => phases.includes(phase)).length;
    return {
      name: String(job),
      min: experiment.trainersMin,
      max: experiment.trainersMax,
      parallelism: count,
      ...shapes.trainer,
      gpu: 0,
      pods: {
        total: pods.length,
        running: inPhase("running"),
        pending: inPhase("pending", "starting"),
      },
    };
  });
}

function inventoryOf(kubernetes: Kubernetes): Inventory {
  let cpuRequested = 0;
  let memoryRequestedMib = 0;
  for (const { shape } of kubernetes.allPods()) {
    cpuRequested += shape.cpu;
    memoryRequestedMib += shape.memoryMib;
  }
  const total = (key: "cpu" | "memoryMib") =>
    kubernetes.nodes.reduce((sum, node) => sum + node[key], 0);
  return {
    cpuTotal: total("cpu"),
    cpuRequested: cpuRequested + kubernetes.baseCpu,
    memoryTotalMib: total("memoryMib"),
    memoryRequestedMib,
    gpuTotal: 0,
    gpuLimit: 0,
    nodes: kubernetes.nodes,
  };
}

function sampleOf(experiment: Experiment, kubernetes: Kubernetes, atS: number): Sample {
  const jobs = experiment.submitAtS.map((_, job) => job);
  const trainers = jobs.map((job) => kubernetes.running(`trainer-${job}`));
  return {
    atS,
    cpuUsed: kubernetes.nodes.reduce((sum, { cpu, cpuIdle }) => sum + cpu - cpuIdle, 0),
    trainers,
    isSubmitted: jobs.map((job) => kubernetes.pods(`trainer-${job}`).length > 0),
    isAble: jobs.map(
      (job) =>
        trainers[job]! >= experiment.trainersMin &&
        kubernetes.running(`pserver-${job}`) === pserversPerJob &&
        kubernetes.running(`master-${job}`) === 1,
    ),
    online: kubernetes.running("nginx"),
  };
}
