resource "kubernetes_config_map_v1" "config" {
  metadata {
    name      = var.name
    namespace = var.namespace
    labels    = local.labels
  }

  data = {
    "metadata.json"   = local.metadata
    "dolt_watch.toml" = local.settings
  }
}

# The identity of the pods. It has no rights and no token.
resource "kubernetes_service_account_v1" "pods" {
  metadata {
    name      = var.name
    namespace = var.namespace
    labels    = local.labels
  }

  automount_service_account_token = false

  dynamic "image_pull_secret" {
    for_each = var.image_pull_secrets
    content {
      name = image_pull_secret.value
    }
  }
}

# What the pods may reach: DNS, Dolt, BeadBoard and its agent service. Only Prometheus may reach them, and
# only the service.
resource "kubernetes_network_policy_v1" "pods" {
  metadata {
    name      = var.name
    namespace = var.namespace
    labels    = local.labels
  }

  spec {
    pod_selector {
      match_labels = local.selector
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

    # DNS: CoreDNS or kube-dns, OpenShift's DNS (port 5353), and a resolver on the node itself.
    egress {
      to {
        namespace_selector {
          match_labels = { "kubernetes.io/metadata.name" = "kube-system" }
        }
        pod_selector {
          match_expressions {
            key      = "k8s-app"
            operator = "In"
            values   = ["kube-dns", "coredns", "node-local-dns"]
          }
        }
      }
      to {
        namespace_selector {
          match_labels = { "kubernetes.io/metadata.name" = "openshift-dns" }
        }
      }
      to {
        ip_block {
          cidr = "169.254.0.0/16"
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
      ports {
        port     = 5353
        protocol = "UDP"
      }
      ports {
        port     = 5353
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
