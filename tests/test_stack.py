"""The template: created, read back, used with the role's rights, and deleted, at a server that weighs every request.

moto would report success and create nothing; ministack creates what it says, verifies signatures, speaks TLS here,
and enforces the policies of the role and of the bucket.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import shutil
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
import pytest
from botocore.exceptions import ClientError
from cfnlint.decode import decode

from canary import CANARIES
from servers import ministack as ministacks
from servers.sockets import authority
from viplake import aws, config
from viplake.clock import SystemClock
from viplake.commands import examination
from viplake.commands.assembly import history_location
from viplake.commands.demo import StoryClock
from viplake.extract.outcome import Outcome
from viplake.judge.check import incidents_prefix
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.records import EventKind
from viplake.lake.store import open_store
from viplake.lake.versions import KEPT, Version, Versions
from viplake.model import PROD, TEST, Hour
from viplake.simulator import ExportShape, Simulator, SimulatorSettings, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers.ministack import Ministack

pytestmark = pytest.mark.system

DEPLOY: Final = Path(__file__).parents[1] / "deploy"
TEMPLATE: Final = DEPLOY / "viplake.yaml"
ARTIFACTS: Final = "artifacts"
AT_COMPLETE: Final = datetime(2022, 5, 10, 13, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ministack]:
    ca = authority(tmp_path_factory.mktemp("authority"))
    with ministacks.serve(tmp_path_factory.mktemp("ministack"), ca) as server:
        s3 = server.client("s3")
        s3.create_bucket(Bucket=ARTIFACTS)
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("placeholder.py", "")
        s3.put_object(Bucket=ARTIFACTS, Key="viplake/viplake-lambda.zip", Body=code.getvalue())
        yield server


@pytest.fixture(autouse=True)
def nowhere_else(cloud: Ministack, monkeypatch: pytest.MonkeyPatch) -> None:
    """SNS is reached by boto3's own chain, as from Lambda: let that, too, lead to this server and to no other."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the credentials that it found first
    here = cloud.environment() | {"AWS_CA_BUNDLE": str(cloud.ca_file), "AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in here.items():
        monkeypatch.setenv(name, value)


@dataclass(frozen=True)
class Stack:
    """A stack that stands."""

    cloud: Ministack
    name: str
    out: dict[str, str]

    def physical(self, logical: str) -> str:
        resource = self.cloud.client("cloudformation").describe_stack_resource(
            StackName=self.name, LogicalResourceId=logical
        )
        return str(resource["StackResourceDetail"]["PhysicalResourceId"])

    def resources(self) -> set[str]:
        found = self.cloud.client("cloudformation").describe_stack_resources(StackName=self.name)
        return {resource["LogicalResourceId"] for resource in found["StackResources"]}

    def role_keys(self) -> dict[str, str]:
        """Credentials of the role, as Lambda or Glue would have them: for the test it trusts the account as well."""
        iam, name = self.cloud.client("iam"), self.physical("Role")
        trust = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        trust["Statement"].append(
            {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}
        )
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
        given = self.cloud.client("sts").assume_role(RoleArn=self.out["RoleArn"], RoleSessionName="test")["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
        }

    def with_role(self, service: str) -> Any:
        keys = self.role_keys()
        return boto3.client(
            service,
            endpoint_url=self.cloud.endpoint,
            region_name=ministacks.REGION,
            verify=str(self.cloud.ca_file),
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=keys["AWS_SESSION_TOKEN"],
        )


def create(cloud: Ministack, name: str, **parameters: str) -> Stack:
    client = cloud.client("cloudformation")
    given = {"VipEnvironment": "Prod", "Company": "ACME", "ArtifactBucket": ARTIFACTS} | parameters
    client.create_stack(
        StackName=name,
        TemplateBody=TEMPLATE.read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    [stack] = client.describe_stacks(StackName=name)["Stacks"]
    return Stack(cloud, name, {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]})


@pytest.fixture(scope="module")
def lambda_stack(cloud: Ministack) -> Stack:
    return create(cloud, "vip-prod", RetentionDays="120", AlarmEmail="ops@example.com")


@pytest.fixture(scope="module")
def glue_stack(cloud: Ministack) -> Stack:
    return create(cloud, "vip-test", Shape="Glue", VipEnvironment="Test", ContentOnSpark="true")


@pytest.fixture(scope="module")
def container_stack(cloud: Ministack) -> Stack:
    return create(cloud, "vip-container", Shape="Container", ArtifactBucket="none")


# -- it stands ------------------------------------------------------------------------------------------------


def test_the_template_is_clean() -> None:
    linter = shutil.which("cfn-lint", path=str(Path(sys.executable).parent))
    assert linter is not None
    done = subprocess.run([linter, str(TEMPLATE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_each_shape_makes_its_own_resources_and_no_other(lambda_stack: Stack, glue_stack: Stack) -> None:
    both = {"Lake", "LakePolicy", "Secret", "Role", "SchedulerRole", "Topic", "DeadMan"}
    assert lambda_stack.resources() == both | {"Function", "Retries", "Ticks", "Log", "Email"}
    assert glue_stack.resources() == both | {"Job", "GlueTicks", "ContentJob", "DailyContent"}


def test_a_container_gets_the_rights_the_log_and_the_alarm_that_a_function_has(
    lambda_stack: Stack, container_stack: Stack
) -> None:
    """All but what would run: the task or the pod comes from elsewhere, and no artifact is asked for."""
    both = {"Lake", "LakePolicy", "Secret", "Role", "Topic", "DeadMan", "Log"}
    assert container_stack.resources() == both | {"Delivered"}
    assert "Runs" not in container_stack.out
    iam = container_stack.cloud.client("iam")
    [trust] = iam.get_role(RoleName=container_stack.physical("Role"))["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": ["ecs-tasks.amazonaws.com", "pods.eks.amazonaws.com"]}
    assert trust["Action"] == ["sts:AssumeRole", "sts:TagSession"]

    def rights(stack: Stack) -> dict[str, Any]:
        policy = iam.get_role_policy(RoleName=stack.physical("Role"), PolicyName="viplake")["PolicyDocument"]
        return {one["Sid"]: one["Action"] for one in policy["Statement"]}

    function = rights(lambda_stack)
    del function["Log"]  # the task's execution role writes the log
    assert rights(container_stack) == function


def test_the_role_may_delete_files_of_tables_only_where_tables_are_on(cloud: Ministack, container_stack: Stack) -> None:
    on = create(cloud, "vip-tables", Shape="Container", Tables="true")

    def deletes(stack: Stack) -> set[str]:
        role = {"RoleName": stack.physical("Role"), "PolicyName": "viplake"}
        statements = cloud.client("iam").get_role_policy(**role)["PolicyDocument"]["Statement"]
        found = [one["Resource"] for one in statements if "s3:DeleteObject" in one["Action"]]
        every = [each for one in found for each in ([one] if isinstance(one, str) else one)]
        return {resource.partition("/")[2] for resource in every}

    assert deletes(on) - deletes(container_stack) == {"IMOSDL/Tables/*"}
    assert not any("Tables" in resource or resource.endswith("IMOSDL/*") for resource in deletes(container_stack))


def test_O7_the_alarm_counts_deliveries_in_the_container_log(container_stack: Stack) -> None:
    client, group = container_stack.cloud.client("logs"), container_stack.out["LogGroupName"]
    [kept] = client.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert (group, kept["retentionInDays"]) == ("/viplake/vip-container", 90)
    [rule] = client.describe_metric_filters(logGroupName=group)["metricFilters"]
    assert rule["filterPattern"] == f'{{ $.event = "{EventKind.DELIVERED}" }}', (
        "as the log's JSON names the ledger's event"
    )
    [metric] = rule["metricTransformations"]
    [alarm] = container_stack.cloud.client("cloudwatch").describe_alarms(AlarmNames=[container_stack.out["AlarmName"]])[
        "MetricAlarms"
    ]
    assert (metric["metricNamespace"], metric["metricName"]) == (alarm["Namespace"], alarm["MetricName"])
    assert metric["metricNamespace"] == f"{aws.NAMESPACE}/vip-container"
    assert (metric["metricValue"], alarm.get("Dimensions", [])) == ("1", [])
    assert alarm["TreatMissingData"] == "breaching"


def test_the_bucket_is_closed_and_keeps_versions(lambda_stack: Stack) -> None:
    s3, bucket = lambda_stack.cloud.client("s3"), lambda_stack.out["BucketName"]
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True}
    assert len(block) == 4
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    statements = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert {one["Sid"]: one["Effect"] for one in statements} == {
        "OnlyOverTls": "Deny",
        "ReceiptsAreWrittenOnce": "Deny",
        "ReceiptsAreNotDeleted": "Deny",
    }


def test_resources_that_ministack_cannot_create_are_in_the_template() -> None:
    """ministack leaves these properties out when it creates the resources; cfn-lint knows their names and types."""
    template, problems = decode(str(TEMPLATE))
    assert not problems
    resources = template["Resources"]
    lake = resources["Lake"]["Properties"]
    [encryption] = lake["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == {"Fn::If": ["HasKey", "aws:kms", "AES256"]}
    assert lake["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    abort, versions, transition, retention = lake["LifecycleConfiguration"]["Rules"]
    condition, rule, otherwise = transition["Fn::If"]
    assert (condition, otherwise) == ("Moves", {"Ref": "AWS::NoValue"})
    assert rule["Transitions"] == [
        {"StorageClass": {"Ref": "TransitionClass"}, "TransitionInDays": {"Ref": "TransitionDays"}}
    ]
    assert abort["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert versions["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    condition, rule, otherwise = retention["Fn::If"]
    assert (condition, otherwise) == ("Expires", {"Ref": "AWS::NoValue"})
    assert rule["ExpirationInDays"] == {"Ref": "RetentionDays"}
    assert rule["Prefix"]["Fn::Sub"][0] == "${Root}/Hourly/", "neither the ledger nor the datasets expire"
    function = resources["Function"]["Properties"]
    assert function["ReservedConcurrentExecutions"] == {"Fn::If": ["Reserves", 1, {"Ref": "AWS::NoValue"}]}
    assert resources["Job"]["Properties"]["ExecutionProperty"] == {"MaxConcurrentRuns": 1}
    inside = {"SubnetIds": {"Ref": "SubnetIds"}, "SecurityGroupIds": {"Ref": "SecurityGroupIds"}}
    assert function["VpcConfig"] == {"Fn::If": ["InVpc", inside, {"Ref": "AWS::NoValue"}]}
    for job in ("Job", "ContentJob"):
        condition, connections, _ = resources[job]["Properties"]["Connections"]["Fn::If"]
        assert (condition, connections) == ("InVpc", {"Connections": [{"Ref": "Connection"}]})
    for role in ("Role", "SchedulerRole"):
        boundary = {"Fn::If": ["HasBoundary", {"Ref": "PermissionsBoundaryArn"}, {"Ref": "AWS::NoValue"}]}
        assert resources[role]["Properties"]["PermissionsBoundary"] == boundary


def test_the_function_is_never_retried_and_its_log_has_a_retention(lambda_stack: Stack) -> None:
    client, name = lambda_stack.cloud.client("lambda"), lambda_stack.out["Runs"]
    function = client.get_function_configuration(FunctionName=name)
    assert (function["Handler"], function["Timeout"]) == ("viplake.aws.lambda_handler", 900)
    retries = client.get_function_event_invoke_config(FunctionName=name, Qualifier="$LATEST")
    assert retries["MaximumRetryAttempts"] == 0
    assert function["LoggingConfig"]["LogGroup"] == "/viplake/vip-prod"
    [group] = lambda_stack.cloud.client("logs").describe_log_groups(logGroupNamePrefix="/viplake/vip-prod")["logGroups"]
    assert group["retentionInDays"] == 90


def test_the_handler_that_the_function_names_exists(lambda_stack: Stack) -> None:
    function = lambda_stack.cloud.client("lambda").get_function_configuration(FunctionName=lambda_stack.out["Runs"])
    module, _, name = function["Handler"].rpartition(".")
    assert (module, callable(getattr(aws, name))) == (aws.__name__, True)


@pytest.mark.parametrize(
    ("shape", "expression", "logical"),
    [("lambda_stack", "cron(0/3 * * * ? *)", "Ticks"), ("glue_stack", "cron(0,30 * * * ? *)", "GlueTicks")],
)
def test_the_schedule_starts_the_function(
    request: pytest.FixtureRequest, shape: str, expression: str, logical: str
) -> None:
    stack: Stack = request.getfixturevalue(shape)
    schedule = stack.cloud.client("scheduler").get_schedule(Name=stack.physical(logical).rpartition("/")[2])
    assert schedule["ScheduleExpression"] == expression
    target = schedule["Target"]
    assert target["RetryPolicy"]["MaximumRetryAttempts"] == 0
    assert stack.out["Runs"] in target["Arn"] + target.get("Input", "")
    assert ":role/" in target["RoleArn"]


def test_O7_the_dead_man_alarm_rings_when_nothing_is_heard(lambda_stack: Stack) -> None:
    client = lambda_stack.cloud.client("cloudwatch")
    [alarm] = client.describe_alarms(AlarmNames=[lambda_stack.out["AlarmName"]])["MetricAlarms"]
    assert alarm["TreatMissingData"] == "breaching"
    assert (alarm["Namespace"], alarm["MetricName"]) == (aws.NAMESPACE, aws.METRIC)
    assert alarm["Dimensions"] == [{"Name": "Environment", "Value": "Prod"}]
    assert (alarm["Threshold"], alarm["ComparisonOperator"], alarm["Statistic"]) == (1, "LessThanThreshold", "Sum")
    assert alarm["AlarmActions"] == [lambda_stack.out["TopicArn"]]
    [email] = lambda_stack.cloud.client("sns").list_subscriptions_by_topic(TopicArn=lambda_stack.out["TopicArn"])[
        "Subscriptions"
    ]
    assert (email["Protocol"], email["Endpoint"]) == ("email", "ops@example.com")


def test_the_metric_that_a_glue_job_stores_is_the_one_that_the_alarm_reads(cloud: Ministack) -> None:
    """0 rings, 1 calls off. (ministack does not judge missing data; that the alarm asks for it is read back above.)"""
    stack = create(cloud, "vip-alarm", VipEnvironment="Test", AlarmAfterHours="1")
    client = cloud.client("cloudwatch")

    def state_becomes(wanted: str) -> bool:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            [alarm] = client.describe_alarms(AlarmNames=[stack.out["AlarmName"]])["MetricAlarms"]
            if alarm["StateValue"] == wanted:
                return True
            time.sleep(0.2)
        return False

    hour = Hour.parse("2022-05-10T13")
    settings = config.load(environ={"VIPLAKE_ENVIRONMENT": "Test", **cloud.environment()})
    aws._put_metric(Outcome("Test", hour, "failed", "vendor_job_failed"), settings)
    assert state_becomes("ALARM")
    aws._put_metric(Outcome("Test", hour.shift(1), "delivered", None), settings)
    assert state_becomes("OK")


# -- what the user has already --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(cloud: Ministack) -> dict[str, str]:
    """Parameters for a network of the user's: two subnets and a security group."""
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24")["Subnet"]["SubnetId"] for number in range(2)
    ]
    group = ec2.create_security_group(VpcId=vpc, GroupName="viplake", Description="viplake")["GroupId"]
    return {"SubnetIds": ",".join(subnets), "SecurityGroupIds": group}


def owned(cloud: Ministack, name: str) -> dict[str, str]:
    """Parameters for a bucket, a secret and a boundary of the user's."""
    cloud.client("s3").create_bucket(Bucket=f"{name}-lake")
    secret = cloud.client("secretsmanager").create_secret(Name=f"{name}-secret", SecretString="{}")
    return {
        "ExistingBucket": f"{name}-lake",
        "ExistingSecretArn": secret["ARN"],
        "PermissionsBoundaryArn": "arn:aws:iam::aws:policy/PowerUserAccess",
        "KmsKeyArn": "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-4000-8000-000000000000",
    }


@pytest.mark.parametrize("shape", ["Lambda", "Glue", "Container"])
def test_the_stack_uses_the_bucket_the_secret_and_the_network_that_are_there(
    cloud: Ministack, network: dict[str, str], shape: str
) -> None:
    given = owned(cloud, f"own-{shape.lower()}")
    stack = create(cloud, f"vip-own-{shape.lower()}", Shape=shape, TransitionDays="30", **given, **network)
    assert not stack.resources() & {"Lake", "LakePolicy", "Secret"}
    assert stack.out["BucketName"] == given["ExistingBucket"]
    assert stack.out["LakeUrl"] == f"s3://{given['ExistingBucket']}"
    assert stack.out["SecretArn"] == given["ExistingSecretArn"]
    iam = cloud.client("iam")
    policy = iam.get_role_policy(RoleName=stack.physical("Role"), PolicyName="viplake")["PolicyDocument"]
    rights = {one["Sid"]: one for one in policy["Statement"]}
    assert rights["Data"]["Resource"] == f"arn:aws:s3:::{given['ExistingBucket']}/IMOSDL/*"
    assert rights["Secret"]["Resource"] == given["ExistingSecretArn"]
    assert "Key" in rights
    assert "Network" in rights
    if shape == "Lambda":
        function = cloud.client("lambda").get_function_configuration(FunctionName=stack.out["Runs"])
        assert function["Environment"]["Variables"]["VIPLAKE_LAKE"] == f"s3://{given['ExistingBucket']}"
    if shape == "Glue":
        job = cloud.client("glue").get_job(JobName=stack.out["Runs"])["Job"]
        assert job["DefaultArguments"]["--viplake-lake"] == f"s3://{given['ExistingBucket']}"
        assert job["DefaultArguments"]["--viplake-secrets"] == f"aws-sm:{given['ExistingSecretArn']}"
        assert "Connection" in stack.resources()


def test_a_new_bucket_moves_and_expires_hourly_folders_on_request(cloud: Ministack) -> None:
    stack = create(cloud, "vip-moves", TransitionDays="30", TransitionClass="GLACIER_IR", RetentionDays="400")
    assert {"Lake", "LakePolicy", "Secret"} <= stack.resources()
    assert "Connection" not in stack.resources()


# -- it is used -----------------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> StoryClock:
    return StoryClock([(SystemClock().now(), datetime(2022, 5, 10, 13, 1, tzinfo=UTC))])


SIMULATED: Final = SimulatorSettings(
    company="ACME",
    client_id=CANARIES.client_id,
    client_secret=CANARIES.client_secret,
    replication_seconds=600,
    export=ExportShape(files=20),
)


@pytest.fixture
def vendor(clock: StoryClock) -> Iterator[Simulator]:
    with running(SIMULATED, clock=clock) as simulator:
        yield simulator


def put_secret(stack: Stack) -> None:
    """What the operations guide says to do once, by hand."""
    content = {"Veson_client_id": CANARIES.client_id, "Veson_client_secret": CANARIES.client_secret}
    stack.cloud.client("secretsmanager").put_secret_value(
        SecretId=stack.out["SecretArn"], SecretString=json.dumps(content)
    )


def around(stack: Stack, vendor: Simulator) -> dict[str, str]:
    """What differs from AWS and Veson: where they are."""
    return (
        stack.cloud.environment()
        | stack.role_keys()
        | {
            "VIPLAKE_TOKEN_URL": vendor.token_url,
            "VIPLAKE_EXPORT_URL": vendor.export_url,
            "VIPLAKE_FILES_URL": vendor.files_url,
            "VIPLAKE_ALLOW_INSECURE_HTTP": "true",
            "VIPLAKE_LOG_LEVEL": "CRITICAL",
        }
    )


def as_function(stack: Stack, vendor: Simulator) -> dict[str, str]:
    """The environment in which Lambda would run the function."""
    put_secret(stack)
    function = stack.cloud.client("lambda").get_function_configuration(FunctionName=stack.out["Runs"])
    return dict(function["Environment"]["Variables"]) | around(stack, vendor)


@pytest.fixture
def receipts_allowed(lambda_stack: Stack, glue_stack: Stack) -> None:
    """ministack does not know the condition key s3:if-none-match, so it would refuse the first write of a Receipt too.

    `test_a_receipt_is_only_ever_created` looks at what is taken out here.
    """
    for stack in (lambda_stack, glue_stack):
        s3, bucket = stack.cloud.client("s3"), stack.out["BucketName"]
        policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
        policy["Statement"] = [one for one in policy["Statement"] if one["Sid"] != "ReceiptsAreWrittenOnce"]
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def test_a_receipt_is_only_ever_created(cloud: Ministack) -> None:
    """Every PUT of a Receipt without `If-None-Match` is denied, in the form that AWS documents, and no other PUT is."""
    stack = create(cloud, "vip-receipts")
    s3, bucket = stack.with_role("s3"), stack.out["BucketName"]
    [statement] = [
        one
        for one in json.loads(cloud.client("s3").get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
        if one["Sid"] == "ReceiptsAreWrittenOnce"
    ]
    # Amazon S3 User Guide, "Enforce conditional writes on Amazon S3 buckets".
    assert statement["Condition"] == {"Null": {"s3:if-none-match": "true"}}
    hour = Hour.parse("2022-05-10T13")
    for prefix in (PROD.prefix, TEST.prefix):
        arn = f"arn:aws:s3:::{bucket}/{Layout(prefix).receipt(hour)}"
        assert fnmatchcase(arn, statement["Resource"])
        assert not fnmatchcase(arn.replace("_Receipt.json", "_PresignedUrls.json"), statement["Resource"])
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key=Layout(PROD.prefix).receipt(hour), Body=b"{}")
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    s3.put_object(Bucket=bucket, Key=Layout(PROD.prefix).promise(hour), Body=b"[]")


def check_landed(stack: Stack, vendor: Simulator, folder: str) -> None:
    """Each file of the export is in the bucket, byte for byte, and the Receipt with them."""
    s3, bucket = stack.cloud.client("s3"), stack.out["BucketName"]
    keys = {o["Key"].removeprefix(folder) for o in s3.list_objects_v2(Bucket=bucket, Prefix=folder)["Contents"]}
    [(guid, job)] = vendor.jobs.items()
    names = {job.key(file).rpartition("/")[2]: job.key(file) for file in job.files}
    assert keys == {*names, "_PresignedUrls.json", "_Receipt.json"}
    for name, key in names.items():
        body = s3.get_object(Bucket=bucket, Key=folder + name)["Body"].read()
        assert hashlib.md5(body).digest() == hashlib.md5(b"".join(vendor.source(guid, key))).digest(), name


@pytest.mark.usefixtures("receipts_allowed")
def test_the_handler_lands_an_hour_with_the_roles_rights(
    lambda_stack: Stack, vendor: Simulator, clock: StoryClock
) -> None:
    function_environ = as_function(lambda_stack, vendor)
    lines: list[str] = []
    first = aws.ticked(900, environ=function_environ, clock=clock, emit=lines.append)
    assert (first["outcome"], first["cause"]) == ("waiting", "waiting"), first
    clock.skip_to(AT_COMPLETE)
    second = aws.ticked(900, environ=function_environ, clock=clock, emit=lines.append)
    assert (second["outcome"], second["files"]) == ("delivered", 20), second
    assert [json.loads(line)["Delivered"] for line in lines] == [1]
    check_landed(lambda_stack, vendor, "IMOSDL/Hourly/20220510/13/")
    check_observed(lambda_stack, "IMOSDL/Observability/historical_job_metrics.csv")
    check_the_bucket_keeps_its_receipts(lambda_stack, "IMOSDL/Hourly/20220510/13/_Receipt.json")


def check_observed(stack: Stack, key: str) -> None:
    history = stack.cloud.client("s3").get_object(Bucket=stack.out["BucketName"], Key=key)["Body"].read().decode()
    assert "20220510-13,1,1" in history


def check_the_bucket_keeps_its_receipts(stack: Stack, key: str) -> None:
    s3, bucket = stack.with_role("s3"), stack.out["BucketName"]
    before = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key=key, Body=b"forged", IfNoneMatch="*")
    assert caught.value.response["Error"]["Code"] == "PreconditionFailed"
    with pytest.raises(ClientError) as caught:
        s3.delete_object(Bucket=bucket, Key=key)
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == before


def test_the_role_may_do_nothing_else(lambda_stack: Stack, glue_stack: Stack) -> None:
    s3, bucket = lambda_stack.with_role("s3"), lambda_stack.out["BucketName"]
    secrets = lambda_stack.with_role("secretsmanager")
    root = lambda_stack.cloud.client("s3")
    root.put_object(Bucket=bucket, Key="IMOSDL/Hourly/20220509/00/Voyage_1.json.gz", Body=b"data")
    attempts: dict[str, Callable[[], object]] = {
        "another prefix": lambda: s3.put_object(Bucket=bucket, Key="DEV/IMOSDL/x", Body=b""),
        "listing it": lambda: s3.list_objects_v2(Bucket=bucket, Prefix="DEV/"),
        "deleting data": lambda: s3.delete_object(Bucket=bucket, Key="IMOSDL/Hourly/20220509/00/Voyage_1.json.gz"),
        "another stack's bucket": lambda: s3.list_objects_v2(Bucket=glue_stack.out["BucketName"], Prefix="IMOSDL/"),
        "another stack's secret": lambda: secrets.get_secret_value(SecretId=glue_stack.out["SecretArn"]),
        "the bucket's policy": lambda: s3.delete_bucket_policy(Bucket=bucket),
        "writing the secret": lambda: secrets.put_secret_value(
            SecretId=lambda_stack.out["SecretArn"], SecretString="x"
        ),
    }
    for name, attempt in attempts.items():
        with pytest.raises(ClientError) as caught:
            attempt()
        assert caught.value.response["Error"]["Code"].startswith("AccessDenied"), name


@pytest.mark.usefixtures("receipts_allowed")
def test_a_failed_hour_is_sent_to_the_topic(
    lambda_stack: Stack, vendor: Simulator, clock: StoryClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = as_function(lambda_stack, vendor)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, environ[name])
    sqs = lambda_stack.cloud.client("sqs")
    queue = sqs.create_queue(QueueName="heard")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    lambda_stack.cloud.client("sns").subscribe(TopicArn=lambda_stack.out["TopicArn"], Protocol="sqs", Endpoint=arn)
    clock.skip_to(datetime(2022, 5, 10, 15, 1, tzinfo=UTC))
    aws.ticked(900, environ=environ, clock=clock, emit=lambda _line: None)
    vendor.faults.add("status:word:value=Failed")
    told = aws.ticked(900, environ=environ, clock=clock, emit=lambda _line: None)
    assert told["cause"] == "vendor_job_failed"
    [heard] = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    message = json.loads(heard["Body"])["Message"]
    assert json.loads(message)["kind"] == "incidents"
    assert "No export since 2022-05-10 1" in message
    assert CANARIES.client_secret not in message


def test_the_role_may_publish_to_the_topic(lambda_stack: Stack) -> None:
    assert lambda_stack.with_role("sns").publish(TopicArn=lambda_stack.out["TopicArn"], Message="test")["MessageId"]


def test_the_doctor_is_green_with_the_roles_rights(lambda_stack: Stack) -> None:
    with running(SIMULATED) as vendor:
        settings = config.load(environ=as_function(lambda_stack, vendor))
        examined = asyncio.run(examination.examine(settings))
    found = {check.name: (check.status, check.detail) for check in examined.checks}
    assert {name: said for name, said in found.items() if said[0] == "failed"} == {}
    assert {found[name][0] for name in ("secret", "token", "lake create", "lake create-only", "lake list")} == {"ok"}


@pytest.fixture(scope="module")
def stack_to_change(cloud: Ministack) -> Stack:
    return create(cloud, "vip-rights")


@contextmanager
def role_without(stack: Stack, right: str) -> Iterator[None]:
    """Meanwhile the role lacks this right."""
    iam, role = stack.cloud.client("iam"), {"RoleName": stack.physical("Role"), "PolicyName": "viplake"}
    whole = json.dumps(iam.get_role_policy(**role)["PolicyDocument"])
    document = json.loads(whole)
    for statement in document["Statement"]:
        actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        statement["Action"] = [action for action in actions if action != right] or ["s3:ListAllMyBuckets"]
    iam.put_role_policy(**role, PolicyDocument=json.dumps(document))
    try:
        yield
    finally:
        iam.put_role_policy(**role, PolicyDocument=whole)


def test_W3_without_write_permission_a_tick_triggers_nothing_and_gives_the_reason(
    stack_to_change: Stack, vendor: Simulator, clock: StoryClock
) -> None:
    environ = as_function(stack_to_change, vendor)
    with role_without(stack_to_change, "s3:PutObject"):
        told = aws.ticked(900, environ=environ, clock=clock, emit=lambda _line: None)
    assert (told["outcome"], told["cause"], told["owner"], told["exit_code"]) == ("failed", "dest_denied", "aws", 73)
    assert vendor.requests.count("trigger") == 0


@pytest.mark.parametrize(
    ("right", "check", "cause"),
    [
        ("secretsmanager:GetSecretValue", "secret", "secrets_denied"),
        ("s3:PutObject", "lake create", "dest_denied"),
        ("s3:GetObject", "lake", "dest_denied"),
        ("s3:ListBucket", "lake list", "dest_denied"),
    ],
)
def test_the_doctor_names_each_right_that_the_role_lacks(
    stack_to_change: Stack, right: str, check: str, cause: str
) -> None:
    """And nothing is red while it has all of them: no other cause makes these checks fail."""

    def failed() -> dict[str, tuple[str | None, str]]:
        with running(SIMULATED) as vendor:
            settings = config.load(environ=as_function(stack_to_change, vendor))
            examined = asyncio.run(examination.examine(settings))
        return {one.name: (one.cause, one.fix or "") for one in examined.checks if one.status == "failed"}

    assert failed() == {}
    with role_without(stack_to_change, right):
        found = failed()
    assert found[check][0] == cause, found
    assert right in found[check][1], "the fix names it"


def _replaced_by(content: bytes, _: bytes | None) -> bytes:
    return content


def test_old_versions_are_removed_with_the_roles_rights(stack_to_change: Stack, vendor: Simulator) -> None:
    settings = config.load(environ=as_function(stack_to_change, vendor))
    store = open_store(config.store_settings(settings, config.Secrets.of(settings)))
    place = asyncio.run(history_location(settings, Lake(store, settings.layout)))

    async def kept(prefix: str) -> int:
        chain, newest = Versions(store, f"{prefix}trial/"), Version(0, None)
        for number in range(KEPT + 2):
            content = str(number).encode()
            newest = await chain.update(partial(_replaced_by, content), known=newest)
        return len(await chain.numbers())

    for prefix in (place.versions, incidents_prefix(place)):
        assert asyncio.run(kept(prefix)) == KEPT, prefix


@pytest.mark.usefixtures("receipts_allowed")
def test_a_glue_job_lands_an_hour_with_the_parameters_of_the_stack(
    glue_stack: Stack, vendor: Simulator, clock: StoryClock
) -> None:
    put_secret(glue_stack)
    job = glue_stack.cloud.client("glue").get_job(JobName=glue_stack.out["Runs"])["Job"]
    assert (job["GlueVersion"], job["MaxRetries"]) == ("5.1", 0)
    assert job["Command"]["ScriptLocation"].endswith("/glue_job.py")
    environ = around(glue_stack, vendor)
    del environ["AWS_REGION"]
    where = {name: environ.pop(name) for name in list(environ) if name.startswith("VIPLAKE_")}
    parameters = job["DefaultArguments"] | {f"--{name.lower().replace('_', '-')}": v for name, v in where.items()}
    argv = ["glue_job.py", "--JOB_NAME", job["Name"], *(word for pair in parameters.items() for word in pair)]
    delivered: list[str] = []

    def tick() -> dict[str, Any]:
        return aws.glue_main(argv, environ=environ, clock=clock, put_metric=lambda o: delivered.append(o.outcome))

    assert tick()["outcome"] == "waiting"
    clock.skip_to(AT_COMPLETE)
    assert tick()["outcome"] == "delivered"
    assert delivered == ["delivered"]
    check_landed(glue_stack, vendor, "DEV/IMOSDL/Hourly/20220510/13/")


def test_a_daily_job_looks_inside_with_the_parameters_of_the_stack(glue_stack: Stack) -> None:
    job = glue_stack.cloud.client("glue").get_job(JobName=glue_stack.physical("ContentJob"))["Job"]
    words = [word for pair in job["DefaultArguments"].items() for word in pair]
    asked = aws.glue_arguments(words)
    assert (asked.command, asked.region, asked.settings["environment"]) == ("content", "us-east-1", "Test")
    assert asked.settings.keys() == {"environment", "company", "lake", "secrets", "log_format"}
    schedule = glue_stack.cloud.client("scheduler").get_schedule(
        Name=glue_stack.physical("DailyContent").rpartition("/")[2]
    )
    assert json.loads(schedule["Target"]["Input"]) == {"JobName": job["Name"]}
    template, _ = decode(str(TEMPLATE))
    [statement] = template["Resources"]["SchedulerRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    allowed = json.dumps(statement["Resource"])
    assert "job/${Job}" in allowed
    assert "job/${ContentJob}" in allowed


# -- and deleted ----------------------------------------------------------------------------------------------


def test_a_deleted_stack_leaves_the_lake_and_the_secret(cloud: Ministack) -> None:
    stack = create(cloud, "vip-gone")
    client = cloud.client("cloudformation")
    client.delete_stack(StackName=stack.name)
    client.get_waiter("stack_delete_complete").wait(StackName=stack.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    cloud.client("s3").head_bucket(Bucket=stack.out["BucketName"])
    cloud.client("secretsmanager").describe_secret(SecretId=stack.out["SecretArn"])
    with pytest.raises(ClientError):
        cloud.client("lambda").get_function(FunctionName=stack.out["Runs"])
    assert cloud.client("cloudwatch").describe_alarms(AlarmNames=[stack.out["AlarmName"]])["MetricAlarms"] == []
