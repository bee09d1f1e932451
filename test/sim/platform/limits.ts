/** What the services of the simulated platform are configured with. */
export const leaseTtlMs = 3000;
export const nodeTimeoutMs = 6000;
