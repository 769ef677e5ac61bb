resource "kubernetes_config_map_v1" "config" {
  metadata {
    name      = var.name
    namespace = var.namespace
    labels    = { "app.kubernetes.io/name" = var.name }
  }

  data = {
    "metadata.json"   = local.metadata
    "dolt_watch.toml" = local.settings
  }
}

# Who the pods are to Kubernetes: nobody.
resource "kubernetes_service_account_v1" "pods" {
  metadata {
    name      = var.name
    namespace = var.namespace
    labels    = { "app.kubernetes.io/name" = var.name }
  }

  automount_service_account_token = false
}

# Whom they reach: names, Dolt, BeadBoard and its agent service. Nobody reaches them but Prometheus, and that only the service.
resource "kubernetes_network_policy_v1" "pods" {
  metadata {
    name      = var.name
    namespace = var.namespace
    labels    = { "app.kubernetes.io/name" = var.name }
  }

  spec {
    pod_selector {
      match_labels = { "app.kubernetes.io/name" = var.name }
    }
    policy_types = ["Ingress", "Egress"]

    dynamic "ingress" {
      for_each = var.mode == "service" ? [var.metrics_namespace] : []
      content {
        from {
          namespace_selector {
            match_labels = { "kubernetes.io/metadata.name" = ingress.value }
          }
        }
        ports {
          port     = "metrics"
          protocol = "TCP"
        }
      }
    }

    egress {
      to {
        namespace_selector {
          match_labels = { "kubernetes.io/metadata.name" = "kube-system" }
        }
        pod_selector {
          match_labels = { "k8s-app" = "kube-dns" }
        }
      }
      ports {
        port     = 53
        protocol = "UDP"
      }
      ports {
        port     = 53
        protocol = "TCP"
      }
    }
    egress {
      to {
        pod_selector {
          match_labels = var.dolt_pod_labels
        }
      }
      ports {
        port     = var.dolt_port
        protocol = "TCP"
      }
    }
    egress {
      to {
        pod_selector {
          match_labels = var.beadboard_pod_labels
        }
      }
      ports {
        port     = var.beadboard_pod_port
        protocol = "TCP"
      }
    }
    egress {
      to {
        namespace_selector {
          match_labels = { "kubernetes.io/metadata.name" = var.agent_service_namespace }
        }
        pod_selector {
          match_labels = var.agent_service_pod_labels
        }
      }
      ports {
        port     = var.agent_service_pod_port
        protocol = "TCP"
      }
    }

    # The API server has no pod labels to select.
    dynamic "egress" {
      for_each = var.agents_enabled ? [var.api_server_cidrs] : []
      content {
        dynamic "to" {
          for_each = egress.value
          content {
            ip_block {
              cidr = to.value
            }
          }
        }
        ports {
          port     = 443
          protocol = "TCP"
        }
        ports {
          port     = 6443
          protocol = "TCP"
        }
      }
    }
  }
}
