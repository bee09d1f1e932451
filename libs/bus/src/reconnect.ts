/** Answers that come in several messages, of which some may be lost with a connection. */
import { AppError } from "@coxswain/domain";

/**
 * The client library waits up to a minute for a message that was lost. Whoever asked can ask again at
 * once, over the new connection.
 * @throws AppError `bus-unavailable` when the connection was lost meanwhile; what `asked` throws
 */
export function unlessReconnected<Answer>(
  onReconnect: (listener: () => void) => () => void,
  asked: Promise<Answer>,
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const stopListening = onReconnect(() =>
    reject(new AppError("bus-unavailable", "the connection was lost while the answer came")),
  );
  asked.then(resolve, reject);
  return promise.finally(stopListening);
}
