"""Move the objects of a scene as its action says, with the MuJoCo physics engine."""

import math
import random
from functools import cache

import mujoco
import numpy as np
from numpy.typing import NDArray

from kinema.errors import DataError
from kinema.world.launch import Body, Contact, Launch, collision_yaw_deg, launch, yaw_turn
from kinema.world.motion import broken_claim
from kinema.world.scene import Object, Scene
from kinema.world.trajectory import Trajectory

STEP_S = 1 / 400
"""Longest time step of the simulation, in seconds."""
SAMPLES_PER_S = 32
"""How often the motion is checked at least, in samples per second, whatever the frame rate of the clip."""
HARD = 30_000.0
"""Stiffness per unit of mass, in 1/s^2, of contacts that rebound: what rests on them sinks by 0.3 mm."""
SOFT, SOFT_DAMPING = 5_000.0, 380.0
"""Stiffness, and damping in 1/s, near 1 / STEP_S, of contacts that do not rebound: they stop a body in one step."""
CONE_SIDES = 24
ATTEMPTS = 8


def simulate(scene: Scene, num_frames: int, fps: float) -> Trajectory:
    """Compute the poses of all objects of the scene at `num_frames` moments, `1 / fps` seconds apart, starting at 0.

    The action is paced to last `scene.seconds`; frames later than that show how it goes on. Every motion is measured,
    and started again slightly differently if it does not show its action: the same scene always gives the same
    trajectory, and a caption that names the action is true. Raises DataError if `num_frames` or `fps` is not positive.
    """
    if num_frames < 1 or not fps > 0:
        raise DataError(f"num_frames={num_frames}, fps={fps:g}: both must be positive; try num_frames=33, fps=16")
    for attempt in range(ATTEMPTS):
        plan = launch(scene, random.Random(f"{scene.seed}/launch/{attempt}"))
        every = math.ceil(SAMPLES_PER_S / fps)
        checked = math.ceil(scene.seconds * fps * every) + 1
        position, rotation = _trace(scene, plan, max(checked, (num_frames - 1) * every + 1), fps * every)
        claim = broken_claim(scene, position[:checked], rotation[:checked])
        if claim is None:
            rope = None
            if plan is not None and plan.pivot_z is not None:
                rope = np.array([scene.main.x, scene.main.y, plan.pivot_z], np.float32)
            stop = (num_frames - 1) * every + 1
            return Trajectory(position[:stop:every], rotation[:stop:every], rope, fps)
    raise AssertionError(f"no motion of scene {scene.seed} shows its action {scene.action!r}: {claim}")


def _trace(
    scene: Scene, plan: Launch | None, num_samples: int, rate: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Positions and rotations of all objects at `num_samples` moments, `rate` of them per second."""
    position = np.empty((num_samples, len(scene.objects), 3), np.float32)
    rotation = np.empty((num_samples, len(scene.objects), 4), np.float32)
    for index, thing in enumerate(scene.objects):
        position[:, index] = thing.x, thing.y, thing.height / 2
        rotation[:, index] = yaw_turn(collision_yaw_deg(thing) if scene.action == "collide" else thing.yaw_deg)
    if plan is None:
        return position, rotation
    substeps = math.ceil(1 / (rate * STEP_S))
    model = mujoco.MjModel.from_xml_string(_mjcf(plan, 1 / (rate * substeps)))
    data = mujoco.MjData(model)
    joints = [joint for body in plan.bodies for joint in body.joints]
    data.qpos[:] = [joint.angle for joint in joints]
    data.qvel[:] = [joint.speed for joint in joints]
    data.qfrc_applied[:] = [joint.drive for joint in joints]
    turns = np.array([body.turn for body in plan.bodies])
    mujoco.mj_kinematics(model, data)
    for sample in range(num_samples):
        position[sample, : len(turns)] = data.xpos[1:]
        rotation[sample, : len(turns)] = _multiply(data.xquat[1:], turns)
        if sample + 1 < num_samples:
            mujoco.mj_step(model, data, nstep=substeps)
            # mj_step leaves the poses of the step's beginning.
            mujoco.mj_kinematics(model, data)
    return position, rotation


def _multiply(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Product of quaternions "o 4": first turn by `right`, then by `left`."""
    a, b, c, d = left.T
    w, x, y, z = right.T
    return np.stack(
        [
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ],
        axis=-1,
    )


def _mjcf(plan: Launch, step_s: float) -> str:
    """MuJoCo's model of the launch: https://mujoco.readthedocs.io/en/stable/XMLreference.html."""
    meshes = "".join(_mesh(body.thing, index) for index, body in enumerate(plan.bodies) if body.thing.shape == "cone")
    bodies = "".join(_body(body, index) for index, body in enumerate(plan.bodies))
    pairs = ""
    if plan.floor is not None:
        for index, body in enumerate(plan.bodies):
            if any(joint.kind == "slide" and joint.axis == "z" for joint in body.joints):
                pairs += _pair("floor", f"geom{index}", plan.floor)
    if plan.between is not None:
        pairs += _pair("geom0", "geom1", plan.between)
    return (
        f'<mujoco><compiler angle="radian"/>'
        f'<option timestep="{step_s!r}" gravity="0 0 {-plan.gravity!r}" integrator="implicitfast" cone="elliptic"/>'
        f'<default><geom contype="0" conaffinity="0" mass="1"/></default><asset>{meshes}</asset>'
        f'<worldbody><geom name="floor" type="plane" size="0 0 1"/>{bodies}</worldbody>'
        f"<contact>{pairs}</contact></mujoco>"
    )


def _pair(first: str, second: str, contact: Contact) -> str:
    """A contact whose spring and damper give `restitution` e: damping ratio -ln(e) / sqrt(pi^2 + ln(e)^2)."""
    stiffness, damping = SOFT, SOFT_DAMPING
    if contact.restitution:
        loss = -math.log(contact.restitution)
        stiffness, damping = HARD, 2 * math.sqrt(HARD) * loss / math.hypot(math.pi, loss)
    condim, friction = (3, contact.friction) if contact.friction else (1, 1.0)
    return (
        f'<pair geom1="{first}" geom2="{second}" condim="{condim}" '
        f'friction="{friction} {friction} 0.005 0.0001 0.0001" '
        f'solref="{-stiffness} {-damping!r}" solimp="0.99 0.99 0.001"/>'
    )


def _body(body: Body, index: int) -> str:
    joints = "".join(
        f'<joint type="{joint.kind}" axis="{" ".join("1" if name == joint.axis else "0" for name in "xyz")}" '
        f'pos="0 0 {joint.pivot!r}" damping="{joint.damping!r}"/>'
        for joint in body.joints
    )
    turn = " ".join(map(repr, body.turn))
    return (
        f'<body pos="{body.x!r} {body.thing.y!r} {body.z!r}">{joints}'
        f'<geom name="geom{index}" {_solid(body.thing, index)} quat="{turn}"/></body>'
    )


def _solid(thing: Object, index: int) -> str:
    radius, half = thing.radius, thing.height / 2
    return {
        "ball": f'type="sphere" size="{radius!r}"',
        "box": f'type="box" size="{radius!r} {radius!r} {half!r}"',
        "cylinder": f'type="cylinder" size="{radius!r} {half!r}"',
        "capsule": f'type="capsule" size="{radius!r} {half - radius!r}"',
        "cone": f'type="mesh" mesh="cone{index}"',
    }[thing.shape]


def _mesh(thing: Object, index: int) -> str:
    return f'<mesh name="cone{index}" vertex="{_cone_vertices(thing.radius, thing.height / 2)}"/>'


@cache
def _cone_vertices(radius: float, half: float) -> str:
    ring = [2 * math.pi * side / CONE_SIDES for side in range(CONE_SIDES)]
    base = " ".join(f"{radius * math.cos(angle):.6f} {radius * math.sin(angle):.6f} {-half:.6f}" for angle in ring)
    return f"0 0 {half:.6f} {base}"
