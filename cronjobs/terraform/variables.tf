# What runs, and whether

variable "image" {
  description = "The image, with a tag or a digest, as your cluster pulls it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("(:[A-Za-z0-9_][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64})$", var.image)) && !endswith(var.image, ":latest")
    error_message = "Name a version: a tag other than latest, or a digest."
  }
}

variable "beads_dispatcher_enabled" {
  description = "The kill switch: false suspends both CronJobs (or scales the service to 0). Manual dispatch keeps working."
  type        = bool
  default     = true
  nullable    = false
}

variable "mode" {
  description = "'cronjobs': two CronJobs that run once and exit. 'service': one pod that stays up."
  type        = string
  default     = "cronjobs"
  nullable    = false

  validation {
    condition     = contains(["cronjobs", "service"], var.mode)
    error_message = "Either cronjobs or service."
  }
}

variable "replicas" {
  description = "Pods of the service. One works, the others stand by."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.replicas >= 1 && floor(var.replicas) == var.replicas
    error_message = "A whole number, at least 1."
  }
}

variable "image_pull_secrets" {
  description = "Names of the Secrets to pull the image with, set in the ServiceAccount."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "resources" {
  description = "Requests and limits of each container. Set cpu_limit, and storage for request and limit of ephemeral-storage, if a ResourceQuota asks for them."
  type = object({
    cpu          = string
    memory       = string
    memory_limit = string
    cpu_limit    = optional(string)
    storage      = optional(string)
  })
  default  = { cpu = "50m", memory = "128Mi", memory_limit = "256Mi", cpu_limit = null, storage = null }
  nullable = false

  validation {
    condition     = alltrue([for each in [var.resources.cpu, coalesce(var.resources.cpu_limit, "1")] : can(regex("^[0-9]+m?$", each))]) && alltrue([for each in [var.resources.memory, var.resources.memory_limit, coalesce(var.resources.storage, "1Mi")] : can(regex("^[0-9]+[KMG]i$", each))])
    error_message = "CPU as 50m or 1, memory and storage as 128Mi."
  }
}

# Names and schedules

variable "namespace" {
  description = "The namespace, which must be there."
  type        = string
  default     = "beads-server"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", var.namespace)) && length(var.namespace) <= 63
    error_message = "A name of at most 63 lower-case letters, digits and hyphens."
  }
}

variable "name" {
  description = "Name of the ConfigMap, the ServiceAccount, the NetworkPolicy and the Deployment, and the label app.kubernetes.io/instance. A second installation in the namespace needs another one."
  type        = string
  default     = "dolt-watch"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", var.name)) && length(var.name) <= 58
    error_message = "A name of at most 58 lower-case letters, digits and hyphens."
  }
}

variable "dispatcher_name" {
  description = "Name of the CronJob that dispatches."
  type        = string
  default     = "beads-dispatcher"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", var.dispatcher_name)) && length(var.dispatcher_name) <= 52
    error_message = "A name of at most 52 lower-case letters, digits and hyphens."
  }
}

variable "reaper_name" {
  description = "Name of the CronJob that reaps."
  type        = string
  default     = "beads-reaper"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", var.reaper_name)) && length(var.reaper_name) <= 52
    error_message = "A name of at most 52 lower-case letters, digits and hyphens."
  }
}

variable "dispatcher_schedule" {
  description = "When beads are dispatched."
  type        = string
  default     = "*/2 * * * *"
  nullable    = false

  validation {
    condition     = can(regex("^([-0-9A-Za-z*/,]+ ){4}[-0-9A-Za-z*/,]+$", var.dispatcher_schedule))
    error_message = "Five fields with one blank between them, such as */2 * * * *."
  }
}

variable "reaper_schedule" {
  description = "When silent beads are reaped."
  type        = string
  default     = "*/10 * * * *"
  nullable    = false

  validation {
    condition     = can(regex("^([-0-9A-Za-z*/,]+ ){4}[-0-9A-Za-z*/,]+$", var.reaper_schedule))
    error_message = "Five fields with one blank between them, such as */2 * * * *."
  }
}

# The database and BeadBoard

variable "dolt_host" {
  description = "Host of the Dolt server, as the pods reach it."
  type        = string
  default     = "dolt"
  nullable    = false

  validation {
    condition     = length(var.dolt_host) > 0
    error_message = "It must not be empty."
  }
}

variable "dolt_port" {
  description = "Its port."
  type        = number
  default     = 3306
  nullable    = false

  validation {
    condition     = var.dolt_port >= 1 && floor(var.dolt_port) == var.dolt_port && var.dolt_port <= 65535
    error_message = "A whole number, 1 to 65535."
  }
}

variable "dolt_tls" {
  description = "Encrypt and verify the connection to Dolt. False, as in the original: plain text inside the cluster, where the NetworkPolicy lets nobody else listen in."
  type        = bool
  default     = false
  nullable    = false
}

variable "dolt_user" {
  description = "Its user; `dolt_watch init --print-grants USER` prints the privileges it needs."
  type        = string
  default     = "beads"
  nullable    = false

  validation {
    condition     = length(var.dolt_user) > 0
    error_message = "It must not be empty."
  }
}

variable "dolt_database" {
  description = "The beads database."
  type        = string
  default     = "beads"
  nullable    = false

  validation {
    condition     = length(var.dolt_database) > 0
    error_message = "It must not be empty."
  }
}

variable "project_id" {
  description = "The project's id, as in .beads/metadata.json; a database with another one is refused."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.project_id))
    error_message = "A UUID in lower case: project_id in .beads/metadata.json."
  }
}

variable "beadboard_url" {
  description = "Where BeadBoard answers."
  type        = string
  default     = "http://beadboard"
  nullable    = false

  validation {
    condition     = can(regex("^https?://[^/@ ]+(/[^ ]*)?$", var.beadboard_url))
    error_message = "http://HOST[:PORT], without a password."
  }
}

variable "agent_service_url" {
  description = "Where claude-agent-service answers, the service behind BeadBoard: asked for its health before a bead is sent. Empty: never asked."
  type        = string
  default     = "http://claude-agent-service.claude-agent.svc.cluster.local:8080"
  nullable    = false

  validation {
    condition     = can(regex("^(https?://[^/@ ]+(/[^ ]*)?)?$", var.agent_service_url))
    error_message = "http://HOST[:PORT], without a password, or empty."
  }
}

variable "password_secret" {
  description = "Secret and key of the database user's password. It may be absent. With another key, the init container can't use it and needs admin_secret."
  type        = object({ name = string, key = string })
  default     = { name = "dolt-watch", key = "BEADS_DOLT_PASSWORD" }
  nullable    = false
}

variable "token_secret" {
  description = "Secret and key of claude-agent-service's bearer token; may be absent."
  type        = object({ name = string, key = string })
  default     = { name = "beadboard-agent-service", key = "api_bearer_token" }
  nullable    = false
}

variable "admin_secret" {
  description = "Secret of a database user who may create tables, with the keys BEADS_DOLT_SERVER_USER and BEADS_DOLT_PASSWORD, for the init container. It may be absent when the tables are up to date. null: no init container."
  type        = string
  default     = "dolt-watch-admin"
}

# The rule

variable "when" {
  description = "Which beads are dispatched: a boolean SQL expression over the columns of issues."
  type        = string
  default     = "assignee = 'agent' AND status = 'open' AND acceptance_criteria <> ''"
  nullable    = false

  validation {
    condition     = length(var.when) > 0
    error_message = "It must not be empty."
  }
}

variable "stale_after" {
  description = "A bead in progress without a sign of life for longer is blocked."
  type        = string
  default     = "30m"
  nullable    = false

  validation {
    condition     = can(regex("^([0-9]+(h|m|s))+$", var.stale_after))
    error_message = "A duration such as 30m or 1h30m."
  }
}

variable "retry_after" {
  description = "Pause before the second attempt; doubled each time."
  type        = string
  default     = "2m"
  nullable    = false

  validation {
    condition     = can(regex("^([0-9]+(h|m|s))+$", var.retry_after))
    error_message = "A duration such as 30m or 1h30m."
  }
}

variable "max_attempts" {
  description = "After so many failures a bead waits for a person."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.max_attempts >= 1 && floor(var.max_attempts) == var.max_attempts
    error_message = "A whole number, at least 1."
  }
}

variable "max_in_flight" {
  description = "How many beads may run at once."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.max_in_flight >= 1 && floor(var.max_in_flight) == var.max_in_flight
    error_message = "A whole number, at least 1."
  }
}

variable "settings" {
  description = "More of dolt_watch.toml: keys such as settle, more keys of the rule as rules.agent.KEY, then tables such as [targets.NAME]. It must not hold secrets."
  type        = string
  default     = ""
  nullable    = false
}

# Agents as Jobs

variable "agents_enabled" {
  description = "Whether dolt_watch may manage Jobs in its namespace, for targets of kind \"kubernetes\"."
  type        = bool
  default     = false
  nullable    = false
}

variable "api_server_cidrs" {
  description = "Addresses of the API server, with agents_enabled. The default is every private address."
  type        = list(string)
  default     = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
  nullable    = false

  validation {
    condition     = length(var.api_server_cidrs) > 0 && alltrue([for each in var.api_server_cidrs : can(cidrhost(each, 0))])
    error_message = "At least one range of addresses, such as 10.0.0.1/32."
  }
}

# Whom the pods may reach

variable "dolt_pod_labels" {
  description = "Labels of Dolt's pods, in this namespace."
  type        = map(string)
  default     = { app = "dolt" }
  nullable    = false

  validation {
    condition     = length(var.dolt_pod_labels) > 0
    error_message = "Without labels every pod would be meant."
  }
}

variable "beadboard_pod_labels" {
  description = "Labels of BeadBoard's pods, in this namespace."
  type        = map(string)
  default     = { app = "beadboard" }
  nullable    = false

  validation {
    condition     = length(var.beadboard_pod_labels) > 0
    error_message = "Without labels every pod would be meant."
  }
}

variable "beadboard_pod_port" {
  description = "Port that BeadBoard's pods listen on; its Service's may be another."
  type        = number
  default     = 3000
  nullable    = false

  validation {
    condition     = var.beadboard_pod_port >= 1 && floor(var.beadboard_pod_port) == var.beadboard_pod_port && var.beadboard_pod_port <= 65535
    error_message = "A whole number, 1 to 65535."
  }
}

variable "agent_service_namespace" {
  description = "Namespace of claude-agent-service."
  type        = string
  default     = "claude-agent"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", var.agent_service_namespace)) && length(var.agent_service_namespace) <= 63
    error_message = "A name of at most 63 lower-case letters, digits and hyphens."
  }
}

variable "agent_service_pod_labels" {
  description = "Labels of its pods."
  type        = map(string)
  default     = { app = "claude-agent-service" }
  nullable    = false

  validation {
    condition     = length(var.agent_service_pod_labels) > 0
    error_message = "Without labels every pod would be meant."
  }
}

variable "agent_service_pod_port" {
  description = "Port that its pods listen on."
  type        = number
  default     = 8080
  nullable    = false

  validation {
    condition     = var.agent_service_pod_port >= 1 && floor(var.agent_service_pod_port) == var.agent_service_pod_port && var.agent_service_pod_port <= 65535
    error_message = "A whole number, 1 to 65535."
  }
}

variable "metrics_namespace" {
  description = "Namespace from which Prometheus reads the service's metrics."
  type        = string
  default     = "monitoring"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", var.metrics_namespace)) && length(var.metrics_namespace) <= 63
    error_message = "A name of at most 63 lower-case letters, digits and hyphens."
  }
}
