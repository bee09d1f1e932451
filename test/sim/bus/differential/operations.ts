/** What may be asked of a stream, its consumers and a bucket; drawn at random. */
import fc from "fast-check";

/** How the stream of one sequence is made. */
export interface Shape {
  readonly maxMsgsPerSubject: number | undefined;
  readonly maxBytes: number | undefined;
  readonly discard: "new" | "old";
}

/** `which` counts over what is there, so that a shrunk sequence still means something. */
export type Operation =
  | {
      readonly kind: "publish";
      readonly subject: string;
      /** Of a small pool, so that some come twice. */
      readonly id: number | undefined;
      /** From the last sequence of the subject; undefined expects nothing. */
      readonly expectOff: number | undefined;
      readonly bytes: number;
    }
  | { readonly kind: "last"; readonly subject: string }
  | { readonly kind: "next"; readonly seq: number; readonly subject: string }
  | { readonly kind: "read"; readonly from: number; readonly subjects: readonly string[] }
  | { readonly kind: "pull"; readonly durable: string }
  | { readonly kind: "ack" | "nak" | "term" | "working"; readonly which: number }
  | { readonly kind: "pending"; readonly durable: string }
  | { readonly kind: "purge"; readonly subject: string | undefined }
  | { readonly kind: "remove"; readonly seq: number }
  /** Asked to come again a little later, and it does. */
  | { readonly kind: "nak-later"; readonly durable: string }
  /** Nobody says anything: all come again after the ack wait. */
  | { readonly kind: "silence" }
  /** An id that is older than the window is new. */
  | { readonly kind: "window" }
  | { readonly kind: "kv-create" | "kv-put"; readonly key: string; readonly value: number }
  | {
      readonly kind: "kv-update";
      readonly key: string;
      readonly value: number;
      readonly off: number;
    }
  | { readonly kind: "kv-delete" | "kv-get"; readonly key: string }
  | { readonly kind: "kv-keys" };

export const subjects = ["a", "b.x", "b.y"] as const;
const patterns = [...subjects, "b.*", ">"] as const;
/** Two durables: of one subject tree, and of everything but few at once. */
export const durables = {
  tree: { filters: ["b.*"], maxAckPending: 16 },
  few: { filters: ["a", "b.x"], maxAckPending: 2 },
} as const;
export type Durable = keyof typeof durables;

const subject = fc.constantFrom(...subjects);
const pattern = fc.constantFrom(...patterns);
const durable = fc.constantFrom(...(Object.keys(durables) as Durable[]));
const which = fc.nat({ max: 3 });
const seq = fc.integer({ min: 1, max: 20 });
const key = fc.constantFrom("k", "l", "m.n");
const value = fc.nat({ max: 9 });
const kind = <Kind extends string>(...kinds: Kind[]) => fc.constantFrom(...kinds);

const publish = fc.record({
  kind: kind("publish"),
  subject,
  id: fc.option(fc.nat({ max: 5 }), { nil: undefined }),
  expectOff: fc.option(fc.constantFrom(0, 0, 0, -1, 1), { nil: undefined }),
  bytes: fc.nat({ max: 40 }),
});

export const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 12, arbitrary: publish },
  { weight: 2, arbitrary: fc.record({ kind: kind("last"), subject }) },
  { weight: 2, arbitrary: fc.record({ kind: kind("next"), seq, subject: pattern }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: kind("read"),
      from: seq,
      subjects: fc.constantFrom(["a"], ["b.*"], [">"], ["a", "b.y"]),
    }),
  },
  { weight: 8, arbitrary: fc.record({ kind: kind("pull"), durable }) },
  { weight: 5, arbitrary: fc.record({ kind: kind("ack", "nak", "term", "working"), which }) },
  { weight: 2, arbitrary: fc.record({ kind: kind("pending"), durable }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: kind("purge"),
      // With a wildcard, nats-server miscounts what is pending afterwards; the platform never purges.
      subject: fc.option(subject, { nil: undefined }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: kind("remove"), seq }) },
  { weight: 1, arbitrary: fc.record({ kind: kind("nak-later"), durable }) },
  { weight: 3, arbitrary: fc.record({ kind: kind("kv-create", "kv-put"), key, value }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: kind("kv-update"),
      key,
      value,
      off: fc.constantFrom(0, 0, -1, 1),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: kind("kv-delete", "kv-get"), key }) },
  { weight: 1, arbitrary: fc.record({ kind: kind("kv-keys") }) },
);

/** What ends a sequence: the rare ones wait for real time. */
const last: fc.Arbitrary<Operation | undefined> = fc.oneof(
  { weight: 18, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: fc.record({ kind: kind("silence") }) },
  { weight: 1, arbitrary: fc.record({ kind: kind("window") }) },
);

export interface Sequence {
  readonly shape: Shape;
  readonly operations: readonly Operation[];
  readonly last: Operation | undefined;
}

export const sequence: fc.Arbitrary<Sequence> = fc.record({
  shape: fc.record({
    maxMsgsPerSubject: fc.constantFrom(undefined, undefined, 1, 2),
    maxBytes: fc.constantFrom(undefined, undefined, undefined, undefined, 400, 800),
    discard: fc.constantFrom("new", "old"),
  }),
  operations: fc.array(operation, { minLength: 4, maxLength: 30, size: "max" }),
  last,
});
