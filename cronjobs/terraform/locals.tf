locals {
  selector = {
    "app.kubernetes.io/name"     = "dolt-watch"
    "app.kubernetes.io/instance" = var.name
  }
  labels = merge(local.selector, {
    "app.kubernetes.io/version"    = "0.1.0"
    "app.kubernetes.io/part-of"    = "beads"
    "app.kubernetes.io/managed-by" = "terraform"
  })

  # A quota may ask for limits of CPU and temporary storage.
  cpu      = var.resources.cpu_limit == null ? tomap({}) : tomap({ "cpu" = var.resources.cpu_limit })
  storage  = var.resources.storage == null ? tomap({}) : tomap({ "ephemeral-storage" = var.resources.storage })
  requests = merge(local.storage, { "cpu" = var.resources.cpu, "memory" = var.resources.memory })
  limits   = merge(local.cpu, local.storage, { "memory" = var.resources.memory_limit })

  metadata = jsonencode({
    database         = "dolt"
    backend          = "dolt"
    dolt_mode        = "server"
    dolt_server_host = var.dolt_host
    dolt_server_port = var.dolt_port
    dolt_server_user = var.dolt_user
    dolt_server_tls  = var.dolt_tls
    dolt_database    = var.dolt_database
    project_id       = var.project_id
  })

  # A JSON string is a TOML string. Dotted keys, and no table: what is added begins at the top level.
  settings = <<-EOT
    rules.agent.when = ${jsonencode(var.when)}
    rules.agent.stale_after = ${jsonencode(var.stale_after)}
    rules.agent.retry_after = ${jsonencode(var.retry_after)}
    rules.agent.max_attempts = ${var.max_attempts}
    rules.agent.max_in_flight = ${var.max_in_flight}

    ${var.settings}
  EOT

  jobs = {
    (var.dispatcher_name) = { component = "dispatch", schedule = var.dispatcher_schedule }
    (var.reaper_name)     = { component = "reap", schedule = var.reaper_schedule }
  }
}
