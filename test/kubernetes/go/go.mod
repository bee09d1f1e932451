// Pinned modules: kubernetes-MINOR.mod, one for each version.
module coxswain.dev/test/kubernetes

go 1.25.0
