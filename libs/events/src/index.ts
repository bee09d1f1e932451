export {
  type Decoded,
  decodeEvent,
  encodeEvent,
  entityOf,
  eventBytesMax,
  eventSubjects,
  filterSubjects,
  isEventName,
  type RawMessage,
  subjectOf,
} from "./codec.ts";
export { type EventSource, eventSources, type NewEvent, type StoredEvent } from "./envelope.ts";
export { type EventName, eventNames, events, type PayloadOf, waitReasons } from "./events.ts";
