output "cronjobs" {
  description = "Names of the CronJobs; none with mode = \"service\"."
  value       = [for each in kubernetes_cron_job_v1.beads : each.metadata[0].name]
}

output "deployment" {
  description = "Name of the Deployment; null with mode = \"cronjobs\"."
  value       = one(kubernetes_deployment_v1.service[*].metadata[0].name)
}

output "config_map" {
  description = "Name of the ConfigMap that holds metadata.json and dolt_watch.toml."
  value       = kubernetes_config_map_v1.config.metadata[0].name
}

output "suspended" {
  description = "Whether the kill switch is on: nothing is dispatched or reaped by itself."
  value       = !var.beads_dispatcher_enabled
}
