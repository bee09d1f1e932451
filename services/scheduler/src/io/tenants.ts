/** Queues and online services as the operator configured them, and the room kept for services. */
import type { Bus, ReservationRecord } from "@coxswain/bus";
import type { QueueSpec, ServiceSpec } from "@coxswain/domain";
import { compareText, type QueueView, type ServiceView } from "@coxswain/scheduling";

export interface Tenants {
  readonly queues: () => QueueView[];
  readonly services: () => ServiceView[];
  /** Makes this the room that is kept for a service; an older epoch changes nothing. */
  reserve(service: string, record: ReservationRecord): Promise<void>;
}

/** Reads the buckets, then follows them until `signal` aborts. */
export async function followTenants(
  bus: Bus,
  options: { readonly signal: AbortSignal; readonly onChange: () => void },
): Promise<Tenants> {
  const queues = new Map<string, QueueSpec>();
  const services = new Map<string, ServiceSpec>();
  const reservations = new Map<string, ReservationRecord>();
  for (const { key, value } of await bus.bucket("queues").entries()) queues.set(key, value.spec);
  for (const { key, value } of await bus.bucket("services").entries())
    services.set(key, value.spec);
  for (const { key, value } of await bus.bucket("reservations").entries())
    reservations.set(key, value);
  const follow = async (name: "queues" | "services", known: Map<string, unknown>) => {
    for await (const { key, value } of bus.bucket(name).watch({ signal: options.signal })) {
      if (value === undefined) known.delete(key);
      else known.set(key, value.spec);
      options.onChange();
    }
  };
  void follow("queues", queues);
  void follow("services", services);
  const reserve = async (service: string, record: ReservationRecord) => {
    const bucket = bus.bucket("reservations");
    const entry = await bucket.get(service);
    if (entry !== undefined && entry.value.epoch > record.epoch) return;
    if (entry === undefined) await bucket.create(service, record);
    else await bucket.update(service, record, entry.revision);
    reservations.set(service, record);
  };
  return {
    queues: () =>
      [...queues]
        .map(([name, spec]) => ({ name, spec }))
        .sort((a, b) => compareText(a.name, b.name)),
    services: () => servicesOf(services, reservations),
    reserve,
  };
}

/** A service that was taken away holds no room. */
function servicesOf(
  services: ReadonlyMap<string, ServiceSpec>,
  reservations: ReadonlyMap<string, ReservationRecord>,
): ServiceView[] {
  return [...services]
    .map(([name, spec]): ServiceView => {
      const { reserved = {}, missing = 0 } = reservations.get(name) ?? {};
      return { name, spec, reserved, missing };
    })
    .sort((a, b) => compareText(a.name, b.name));
}
