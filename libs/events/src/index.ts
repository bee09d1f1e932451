export { type EventSource, eventSources, type NewEvent, type StoredEvent } from "./envelope.ts";
export { type EventName, eventNames, events, type PayloadOf, waitReasons } from "./events.ts";
