# One pod that stays up, in place of the CronJobs.
resource "kubernetes_deployment_v1" "service" {
  count = var.mode == "service" ? 1 : 0

  metadata {
    name      = var.name
    namespace = var.namespace
    labels    = { "app.kubernetes.io/name" = var.name, "app.kubernetes.io/component" = "run" }
  }

  spec {
    # The kill switch.
    replicas = var.beads_dispatcher_enabled ? var.replicas : 0

    selector {
      match_labels = { "app.kubernetes.io/name" = var.name, "app.kubernetes.io/component" = "run" }
    }

    template {
      metadata {
        labels = { "app.kubernetes.io/name" = var.name, "app.kubernetes.io/component" = "run" }
        annotations = {
          "prometheus.io/scrape" = "true"
          "prometheus.io/port"   = "9464"
          "prometheus.io/path"   = "/metrics"
          # Changed settings are a changed pod.
          "dolt-watch/settings" = sha256("${local.metadata}${local.settings}")
        }
      }
      spec {
        termination_grace_period_seconds = 30
        service_account_name             = kubernetes_service_account_v1.pods.metadata[0].name
        automount_service_account_token  = var.agents_enabled
        enable_service_links             = false
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
