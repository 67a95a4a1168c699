"""What Prometheus, Alertmanager and Grafana are told of the models: rules, alerts and dashboards, made from the specs."""
