# For targets of kind "kubernetes": dolt_watch may manage the Jobs of its agents in its own namespace.
resource "kubernetes_role_v1" "agents" {
  count = var.agents_enabled ? 1 : 0

  metadata {
    name      = "${var.name}-agents"
    namespace = var.namespace
    labels    = merge(local.labels, { "app.kubernetes.io/component" = "agents" })
  }

  # Dispatch, settle a lost answer, count running Jobs, stop a run.
  rule {
    api_groups = ["batch"]
    resources  = ["jobs"]
    verbs      = ["create", "get", "list", "delete"]
  }
  # Why a run failed or cannot start.
  rule {
    api_groups = [""]
    resources  = ["pods", "events"]
    verbs      = ["list"]
  }
  # dolt_watch logs
  rule {
    api_groups = [""]
    resources  = ["pods/log"]
    verbs      = ["get"]
  }
}

resource "kubernetes_role_binding_v1" "agents" {
  count = var.agents_enabled ? 1 : 0

  metadata {
    name      = "${var.name}-agents"
    namespace = var.namespace
    labels    = merge(local.labels, { "app.kubernetes.io/component" = "agents" })
  }

  role_ref {
    api_group = "rbac.authorization.k8s.io"
    kind      = "Role"
    name      = "${var.name}-agents"
  }
  subject {
    kind      = "ServiceAccount"
    name      = kubernetes_service_account_v1.pods.metadata[0].name
    namespace = var.namespace
  }
}
