# The two CronJobs, as the kustomize base has them. The tests compare the two field by field.
resource "kubernetes_cron_job_v1" "beads" {
  for_each = var.mode == "cronjobs" ? local.jobs : {}

  metadata {
    name      = each.key
    namespace = var.namespace
    labels    = merge(local.labels, { "app.kubernetes.io/component" = each.value.component })
  }

  spec {
    schedule = each.value.schedule
    # The kill switch.
    suspend                       = !var.beads_dispatcher_enabled
    concurrency_policy            = "Forbid"
    starting_deadline_seconds     = 60
    successful_jobs_history_limit = 3
    failed_jobs_history_limit     = 3

    job_template {
      metadata {
        labels = local.labels
      }
      spec {
        backoff_limit              = 0
        active_deadline_seconds    = 600
        ttl_seconds_after_finished = 600

        template {
          metadata {
            labels = merge(local.labels, { "app" = each.key, "app.kubernetes.io/component" = each.value.component })
          }
          spec {
            restart_policy                  = "Never"
            service_account_name            = kubernetes_service_account_v1.pods.metadata[0].name
            automount_service_account_token = var.agents_enabled
            enable_service_links            = false
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
              args              = [each.value.component]
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
    }
  }

  lifecycle {
    # An admission webhook may set ndots.
    ignore_changes = [spec[0].job_template[0].spec[0].template[0].spec[0].dns_config]
  }
}
