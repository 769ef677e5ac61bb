# Makes the tables, as a user who may. It stays, finished, so that Terraform does not make it anew at each apply; a new image replaces it, and so migrates.
resource "kubernetes_job_v1" "init" {
  count = var.admin_secret == null ? 0 : 1

  metadata {
    name      = "${var.name}-init"
    namespace = var.namespace
    labels    = { "app.kubernetes.io/name" = var.name, "app.kubernetes.io/component" = "init" }
  }

  # Terraform says so when the tables could not be made.
  wait_for_completion = true
  timeouts {
    create = "6m"
    update = "6m"
  }

  spec {
    backoff_limit           = 0
    active_deadline_seconds = 300

    template {
      metadata {
        labels = { "app.kubernetes.io/name" = var.name, "app.kubernetes.io/component" = "init" }
      }
      spec {
        restart_policy                  = "Never"
        service_account_name            = kubernetes_service_account_v1.pods.metadata[0].name
        automount_service_account_token = false
        enable_service_links            = false
        dynamic "image_pull_secrets" {
          for_each = var.image_pull_secrets
          content {
            name = image_pull_secrets.value
          }
        }
        security_context {
          run_as_non_root = true
          run_as_user     = 10001
          run_as_group    = 10001
          seccomp_profile {
            type = "RuntimeDefault"
          }
        }
        container {
          name              = "dolt-watch"
          image             = var.image
          image_pull_policy = "IfNotPresent"
          args              = ["init"]
          working_dir       = "/workspace"
          env {
            name  = "HOME"
            value = "/tmp"
          }
          env {
            name = "BEADS_DOLT_SERVER_USER"
            value_from {
              secret_key_ref {
                name = var.admin_secret.name
                key  = var.admin_secret.user_key
              }
            }
          }
          env {
            name = "BEADS_DOLT_PASSWORD"
            value_from {
              secret_key_ref {
                name = var.admin_secret.name
                key  = var.admin_secret.password_key
              }
            }
          }
          resources {
            requests = { cpu = var.resources.cpu, memory = var.resources.memory }
            limits   = { memory = var.resources.memory_limit }
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
