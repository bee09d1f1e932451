import { type Static, Type } from "@coxswain/schema";
import { commonConfig } from "@coxswain/service";

export const ConfigSchema = Type.Object({
  ...commonConfig,
  HTTP_PORT: Type.Integer({
    default: 0,
    minimum: 0,
    maximum: 65_535,
    description: "0 takes a free port",
  }),
  HTTP_HOST: Type.String({ default: "127.0.0.1" }),
  STORE_URL: Type.String({ description: "Where models lie: file:///FOLDER or s3://BUCKET/PREFIX" }),
  STREAMS_MAX: Type.Integer({ default: 1000, minimum: 1, description: "Event streams at once" }),
  TRAINING_JOBS: Type.Union([Type.Literal("off"), Type.Literal("kubernetes")], {
    default: "off",
    description: "kubernetes: jobs are TrainingJob objects of a cluster too",
  }),
  KUBECONFIG: Type.Optional(
    Type.String({ description: "Cluster to use; absent: the one that this process runs in" }),
  ),
  KUBERNETES_NAMESPACE: Type.String({ default: "coxswain", description: "Where TrainingJobs are" }),
});
export type Config = Static<typeof ConfigSchema>;
