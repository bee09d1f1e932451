/** Many readers of the event stream, as cheap as they can be: each tells when an event arrived. */
import { get, type IncomingMessage } from "node:http";

const idLine = /^id: (\d+)\nevent: /gm;

/** Resolves when the stream has begun; `onEvent` gets each sequence. Ends with `signal`. */
export function openReader(
  apiUrl: string,
  after: number,
  signal: AbortSignal,
  onEvent: (sequence: number) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = get(
      `${apiUrl}/v1/events?after=${after}`,
      { signal, agent: false },
      (response: IncomingMessage) => {
        let rest = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => {
          resolve();
          const text = rest + chunk;
          const end = text.lastIndexOf("\n\n") + 2;
          if (end < 2) {
            rest = text;
            return;
          }
          rest = text.slice(end);
          for (const match of text.slice(0, end).matchAll(idLine)) onEvent(Number(match[1]));
        });
        response.on("error", () => undefined);
      },
    );
    request.on("error", (error) => {
      if (!signal.aborted) reject(error);
    });
  });
}

/** Reads the whole log once; returns how many events came. */
export async function replay(apiUrl: string): Promise<number> {
  const response = await fetch(`${apiUrl}/v1/events?follow=false`);
  const decoder = new TextDecoder();
  let count = 0;
  let rest = "";
  for await (const chunk of response.body!) {
    const text = rest + decoder.decode(chunk, { stream: true });
    const end = text.lastIndexOf("\n\n") + 2;
    count += [...text.slice(0, Math.max(0, end)).matchAll(idLine)].length;
    rest = end < 2 ? text : text.slice(end);
  }
  return count;
}
