# Pods that stay up, instead of the CronJobs.
resource "kubernetes_deployment_v1" "service" {
  count = var.mode == "service" ? 1 : 0

  metadata {
    name      = var.name
    namespace = var.namespace
    labels    = merge(local.labels, { "app.kubernetes.io/component" = "run" })
  }

  spec {
    # The kill switch.
    replicas                  = var.beads_dispatcher_enabled ? var.replicas : 0
    progress_deadline_seconds = 300
    revision_history_limit    = 5

    selector {
      match_labels = merge(local.selector, { "app.kubernetes.io/component" = "run" })
    }

    template {
      metadata {
        labels = merge(local.labels, { "app.kubernetes.io/component" = "run" })
        annotations = {
          "prometheus.io/scrape" = "true"
          "prometheus.io/port"   = "9464"
          "prometheus.io/path"   = "/metrics"
          # Changed settings are a changed pod.
          "dolt-watch/settings" = sha256("${local.metadata}${local.settings}")
        }
      }
      spec {
        dynamic "topology_spread_constraint" {
          for_each = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
          content {
            max_skew           = 1
            topology_key       = topology_spread_constraint.value
            when_unsatisfiable = "ScheduleAnyway"
            label_selector {
              match_labels = merge(local.selector, { "app.kubernetes.io/component" = "run" })
            }
          }
        }
        termination_grace_period_seconds = 30
        service_account_name             = kubernetes_service_account_v1.pods.metadata[0].name
        automount_service_account_token  = var.agents_enabled
        enable_service_links             = false
        security_context {
          run_as_non_root = true
          run_as_user     = 10001
          run_as_group    = 10001
          seccomp_profile {
            type = "RuntimeDefault"
          }
        }
        # Creates or migrates the tables if necessary. One query if they are up to date.
        dynamic "init_container" {
          for_each = var.admin_secret == null ? [] : [var.admin_secret]
          content {
            name              = "init"
            image             = var.image
            image_pull_policy = "IfNotPresent"
            args              = ["init", "--if-needed"]
            working_dir       = "/workspace"
            env {
              name  = "HOME"
              value = "/tmp"
            }
            env_from {
              secret_ref {
                name     = var.password_secret.name
                optional = true
              }
            }
            env_from {
              secret_ref {
                name     = init_container.value
                optional = true
              }
            }
            resources {
              requests = local.requests
              limits   = local.limits
            }
            security_context {
              allow_privilege_escalation = false
              read_only_root_filesystem  = true
              capabilities {
                drop = ["ALL"]
              }
            }
            volume_mount {
              name       = "workspace"
              mount_path = "/workspace"
              read_only  = true
            }
            volume_mount {
              name       = "tmp"
              mount_path = "/tmp"
            }
          }
        }
        container {
          name              = "dolt-watch"
          image             = var.image
          image_pull_policy = "IfNotPresent"
          args              = ["run", "--host", "0.0.0.0", "--port", "9464"]
          working_dir       = "/workspace"
          env {
            name  = "HOME"
            value = "/tmp"
          }
          env {
            name  = "BEADBOARD_URL"
            value = var.beadboard_url
          }
          env {
            name  = "CLAUDE_AGENT_SERVICE_URL"
            value = var.agent_service_url
          }
          env {
            name = "BEADS_DOLT_PASSWORD"
            value_from {
              secret_key_ref {
                name     = var.password_secret.name
                key      = var.password_secret.key
                optional = true
              }
            }
          }
          env {
            name = "API_BEARER_TOKEN"
            value_from {
              secret_key_ref {
                name     = var.token_secret.name
                key      = var.token_secret.key
                optional = true
              }
            }
          }
          port {
            name           = "metrics"
            container_port = 9464
          }
          startup_probe {
            http_get {
              path = "/startupz"
              port = "metrics"
            }
            period_seconds    = 10
            timeout_seconds   = 5
            failure_threshold = 360
          }
          liveness_probe {
            http_get {
              path = "/healthz"
              port = "metrics"
            }
            period_seconds    = 10
            timeout_seconds   = 5
            failure_threshold = 6
          }
          readiness_probe {
            http_get {
              path = "/readyz"
              port = "metrics"
            }
            period_seconds    = 10
            timeout_seconds   = 5
            failure_threshold = 3
          }
          resources {
            requests = local.requests
            limits   = local.limits
          }
          security_context {
            allow_privilege_escalation = false
            read_only_root_filesystem  = true
            capabilities {
              drop = ["ALL"]
            }
          }
          volume_mount {
            name       = "workspace"
            mount_path = "/workspace"
            read_only  = true
          }
          volume_mount {
            name       = "tmp"
            mount_path = "/tmp"
          }
        }
        volume {
          name = "workspace"
          config_map {
            name = kubernetes_config_map_v1.config.metadata[0].name
            items {
              key  = "metadata.json"
              path = ".beads/metadata.json"
            }
            items {
              key  = "dolt_watch.toml"
              path = "dolt_watch.toml"
            }
          }
        }
        volume {
          name = "tmp"
          empty_dir {
            size_limit = "64Mi"
          }
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [spec[0].template[0].spec[0].dns_config]
  }
}

# A drain of nodes leaves one of two pods running.
resource "kubernetes_pod_disruption_budget_v1" "service" {
  count = var.mode == "service" ? 1 : 0

  metadata {
    name      = var.name
    namespace = var.namespace
    labels    = merge(local.labels, { "app.kubernetes.io/component" = "run" })
  }

  spec {
    max_unavailable = 1
    selector {
      match_labels = merge(local.selector, { "app.kubernetes.io/component" = "run" })
    }
  }
}
