# One image per service: `docker build --target scheduler .`; compose builds all five.
ARG NODE_IMAGE=node:24-slim

FROM ${NODE_IMAGE} AS manifests
WORKDIR /app
COPY . .
# What npm reads, and no more: the installs below stay cached until one of these files changes.
RUN find libs services examples -type f ! -name package.json -exec rm {} +

FROM manifests AS schema-bundle
COPY libs/schema/src libs/schema/src
RUN --mount=type=cache,target=/root/.npm \
    npm ci --workspace=libs/schema && npm run bundle --workspace=libs/schema

# The bill of materials says more than is there, if anything: `--omit=dev` would leave out what a
# tool of ours needs too.
FROM manifests AS control-modules
RUN --mount=type=cache,target=/root/.npm \
    npm ci --omit=dev --workspace=services/job-api --workspace=services/scheduler \
        --workspace=services/autoscaler --workspace=services/checkpoint \
    && npm sbom --sbom-format=cyclonedx --package-lock-only \
        --workspace=services/job-api --workspace=services/scheduler \
        --workspace=services/autoscaler --workspace=services/checkpoint > sbom.cdx.json

FROM manifests AS trainer-modules
# TensorFlow.js ships its source maps, declarations and tests: two fifths of its bytes.
RUN --mount=type=cache,target=/root/.npm \
    npm ci --omit=dev --workspace=services/trainer \
    && npm sbom --sbom-format=cyclonedx --package-lock-only \
        --workspace=services/trainer > sbom.cdx.json \
    && find node_modules/@tensorflow -type f \
        \( -name '*.map' -o -name '*.d.ts' -o -name '*_test.js' \) -exec rm {} +

FROM ${NODE_IMAGE} AS runtime
ENV NODE_ENV=production \
    HEALTH_HOST=0.0.0.0 \
    HEALTH_PORT=8080
# A named volume takes its owner from the folder that it is mounted on for the first time.
RUN mkdir -p /var/lib/coxswain/store /var/lib/coxswain/node \
    && chown -R node:node /var/lib/coxswain
WORKDIR /app
USER node
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 CMD ["node", "-e", \
    "require('node:http').get({ host: '127.0.0.1', port: process.env.HEALTH_PORT, path: '/healthz' }, (r) => process.exit(r.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]

FROM runtime AS control
COPY --from=control-modules /app/node_modules node_modules
COPY --from=control-modules /app/sbom.cdx.json sbom.cdx.json
COPY libs libs
COPY --from=schema-bundle /app/libs/schema/bundle libs/schema/bundle

FROM control AS job-api
ENV HTTP_HOST=0.0.0.0 \
    HTTP_PORT=7070 \
    STORE_URL=file:///var/lib/coxswain/store
EXPOSE 7070
COPY services/job-api services/job-api
CMD ["node", "services/job-api/src/main.ts"]

FROM control AS scheduler
COPY services/scheduler services/scheduler
CMD ["node", "services/scheduler/src/main.ts"]

FROM control AS autoscaler
COPY services/autoscaler services/autoscaler
CMD ["node", "services/autoscaler/src/main.ts"]

FROM control AS checkpoint
ENV STORE_URL=file:///var/lib/coxswain/store
COPY services/checkpoint services/checkpoint
CMD ["node", "services/checkpoint/src/main.ts"]

FROM runtime AS trainer
ENV NODE_HOST=hostname \
    NODE_DIR=/var/lib/coxswain/node \
    STORE_URL=file:///var/lib/coxswain/store \
    COXSWAIN_CACHE_DIR=/var/lib/coxswain/engines
COPY --from=trainer-modules /app/node_modules node_modules
COPY --from=trainer-modules /app/sbom.cdx.json sbom.cdx.json
COPY libs libs
COPY --from=schema-bundle /app/libs/schema/bundle libs/schema/bundle
COPY services/trainer services/trainer
CMD ["node", "services/trainer/src/main.ts"]
