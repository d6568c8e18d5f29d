"""Feast's own engine of materializations, except that rows go into the SQLite online store by columns."""

from typing import Any

from feast import FeatureView
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.dag.context import ExecutionContext
from feast.infra.compute_engines.dag.node import DAGNode
from feast.infra.compute_engines.local.arrow_table_value import ArrowTableValue
from feast.infra.compute_engines.local.compute import LocalComputeEngine, LocalComputeEngineConfig
from feast.infra.compute_engines.local.feature_builder import LocalFeatureBuilder
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.compute_engines.local.nodes import LocalOutputNode
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.registry.base_registry import BaseRegistry

from feature_repo.home import HomeSqliteOnlineStore
from feature_repo.online_columns import write_rows


class HomeComputeEngineConfig(LocalComputeEngineConfig):  # type: ignore[misc]
    """`batch_engine:` of feature_store.yaml."""

    type: str = "feature_repo.online_engine.HomeComputeEngine"


class HomeComputeEngine(LocalComputeEngine):  # type: ignore[misc]
    """Feast's local engine; another online store than this home's gets its rows as Feast makes them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{name: value for name, value in settings.items() if name != "type"})

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **more: Any
    ) -> LocalMaterializationJob:
        if not isinstance(self.online_store, HomeSqliteOnlineStore):
            return super()._materialize_one(registry, task, **more)
        name = f"{task.feature_view.name}-{task.start_time}-{task.end_time}"
        context = self.get_execution_context(registry, task)
        try:
            _Builder(registry, task, backend=self._get_backend(context)).build().execute(context)
        except Exception as error:
            return LocalMaterializationJob(job_id=name, status=MaterializationJobStatus.ERROR, error=error)
        return LocalMaterializationJob(job_id=name, status=MaterializationJobStatus.SUCCEEDED)


class _Builder(LocalFeatureBuilder):  # type: ignore[misc]
    def build_output_nodes(self, view: FeatureView, input_node: DAGNode) -> DAGNode:
        node = _Output("output", view, inputs=[input_node])
        self.nodes.append(node)
        return node


class _Output(LocalOutputNode):  # type: ignore[misc]
    def execute(self, context: ExecutionContext) -> ArrowTableValue:
        view, rows = self.feature_view, self.get_single_table(context).data
        if view.offline or not view.online or not len(rows):
            return super().execute(context)
        config, store = context.repo_config, context.online_store
        table = compute_table_id(config.project, view, config.registry.enable_online_feature_view_versioning)
        version = config.entity_key_serialization_version
        write_rows(store._get_conn(config), f'"{table}"', view, rows, version)
        return ArrowTableValue(data=rows)
