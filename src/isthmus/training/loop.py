"""The training loop: a recipe in, a trained model in a folder out.

Read from the top: `train` claims the folder, builds the model, runs the stages and saves; a stage
takes its steps. Whatever decides a step (weights, moments, position, chance) is in a checkpoint,
and the order of samples follows from the position alone, so a run that was killed goes on as if it
had not been.
"""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import torch
from accelerate.utils import set_seed
from jaxtyping import Float
from rich.console import Console
from torch import Tensor, nn

from isthmus.modeling import fingerprint
from isthmus.modeling.lora import Lora, add_lora, merge_lora
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.trained import Towers, save_trained
from isthmus.modeling.weights import put_weights, swapped_weights, weights_of
from isthmus.training import run_folder
from isthmus.training.chance import random_states, set_random_states
from isthmus.training.checkpoint import (
    Position,
    best_checkpoint,
    last_checkpoint,
    save_checkpoint,
)
from isthmus.training.freeze import learned_values, recomputed_layers, set_modes
from isthmus.training.hand_over import hand_over, heirs_of, start_from
from isthmus.training.log import RunLog
from isthmus.training.models import AlignmentConfig, ModelConfig
from isthmus.training.number_format import has_bfloat16
from isthmus.training.optim import set_lr
from isthmus.training.prepare import Prepared, Run, prepare
from isthmus.training.processes import join_processes
from isthmus.training.progress import StepProgress
from isthmus.training.resolve import Model, ModelProcessor, build
from isthmus.training.result import TrainResult, result_of
from isthmus.training.sharding import check_recipe, gathered, is_sharded, whole
from isthmus.training.stage import Part, Recipe
from isthmus.training.step import Figures, take_step, validate


def train(
    recipe: Recipe, output: Path, *, resume: bool = False, console: Console | None = None
) -> TrainResult:
    """Trains a recipe into a folder that transformers' Auto classes can load.

    Args:
        recipe: model and stages.
        output: folder of the run; logs and checkpoints lie in it, too.
        resume: go on from the folder's last checkpoint, or start when there is none.
        console: where the run is shown.

    Raises:
        ValueError: the folder holds another run, a row of the data cannot be used, a setting does
            not fit the model, or its weights are to be shared out and cannot be.
        FloatingPointError: the gradient is no longer finite.
    """
    clock = perf_counter()
    trained = {part.name for stage in recipe.stages for part in stage.train}
    # An objective that is left out leaves its head without a gradient.
    some_unused = any(isinstance(model, AlignmentConfig) for model in recipe.models)
    accelerator = join_processes(some_unused=some_unused or "vision_tower" in trained)
    if is_sharded(accelerator):
        check_recipe(recipe, "--use_fsdp")
    is_main = accelerator.is_main_process
    console = console or Console()
    if is_main:
        run_folder.claim(output, recipe, resume=resume)
    else:
        console = Console(quiet=True)
    accelerator.wait_for_everyone()
    checkpoint = last_checkpoint(output) if resume else None
    position = checkpoint.position if checkpoint else Position()
    resumed_from = position.step if checkpoint else None
    for folder in checkpoint.damaged if checkpoint else ():
        console.print(f"{folder} cannot be read; going on from the one before", markup=False)

    set_seed(recipe.seed)
    number = min(position.stage, len(recipe.stages) - 1)
    model, processor, towers, started = _built(recipe, number, accelerator.device)
    met = run_folder.read_description(output).get("stages", []) if checkpoint else []

    with RunLog(output, resumed_from=resumed_from, enabled=is_main) as log:
        run = Run(
            recipe=recipe,
            output=output,
            accelerator=accelerator,
            console=console,
            log=log,
            model=model,
            processor=processor,
            started=started,
            facts={"towers": towers, "stages": met, "processes": accelerator.num_processes},
            checkpoint=checkpoint,
            position=position,
            begun=clock - position.seconds,
        )
        before: Prepared | None = None
        for number in range(position.stage, len(recipe.stages)):
            if number > position.stage and recipe.stages[number].hand_over:
                _change_model(run, number, before)
            prepared = prepare(run, number, before)
            _run_stage(run, prepared)
            accelerator.free_memory()  # it remembers what it prepared
            if is_sharded(accelerator):
                run.model = _in_one_piece(run, number, prepared)
            before = prepared if prepared.is_continued else None
            del prepared  # and its moments
            run.position = replace(
                run.position, stage=number + 1, stage_step=0, place=(0, 0), best_loss=None
            )

    if is_main:
        run_folder.save_model(output, partial(_save, run, len(recipe.stages) - 1), run.processor)
    result = result_of(output, run.position, seconds=perf_counter() - run.begun)
    if is_main:
        run_folder.describe(output, recipe, **run.facts, result=result.cost())
    accelerator.wait_for_everyone()
    return result


def _built(
    recipe: Recipe, number: int, device: torch.device
) -> tuple[Model, ModelProcessor, dict[str, str], set[Any]]:
    """Builds the model of a stage.

    Returns:
        The model, its processor, the fingerprints of its parts, and which of these are not as their
        towers are, since the recipe starts from a trained model.
    """
    model, processor = build(recipe.models[number])
    cast(nn.Module, model).to(device)
    towers = _fingerprints(model)
    if recipe.start is None or len(recipe.since(number)) <= number:
        return model, processor, towers, set()
    start_from(model, recipe.start, recipe.stages[0].hand_over)
    begun = _fingerprints(model)
    return model, processor, begun, {name for name in towers if begun[name] != towers[name]}


def _fingerprints(model: Model) -> dict[str, str]:
    return {n: fingerprint.of_weights(p.state_dict()) for n, p in model.parts().items()}


def _change_model(run: Run, number: int, continued: Prepared | None) -> None:
    """Goes on to the model of a stage; the one before is saved below the run's folder."""
    recipe, averages = run.recipe, continued.averages() if continued else {}
    if run.accelerator.is_main_process:
        folder = run.output / recipe.stages[number - 1].name
        folder.mkdir(exist_ok=True)
        with swapped_weights(run.model, averages, folder):
            run_folder.save_model(folder, partial(_save, run, number - 1), run.processor)
    run.accelerator.wait_for_everyone()
    source, plan = run.model, recipe.stages[number].hand_over
    assert plan is not None
    run.model, run.processor, towers, run.started = _built(recipe, number, run.accelerator.device)
    run.facts["towers"] = towers
    hand_over(source, run.model, plan)


def _in_one_piece(run: Run, number: int, prepared: Prepared) -> Model:
    """Returns the model of a stage anew, with what was learned of it in shards."""
    chance = random_states()
    weights = prepared.learned_weights()
    model, *_ = _built(run.recipe, number, run.accelerator.device)
    parts = model.parts()
    for part in (p for stage in run.recipe.since(number) for p in stage.train):
        if part.lora:
            add_lora(parts[part.name], part.lora)
    put_weights(model, weights, run.output)
    set_random_states(chance)
    return model


def _save(run: Run, number: int, folder: Path) -> None:
    """Writes the trained model of a stage: whole and merged, or what was trained of it."""
    recipe, parts = run.recipe, run.model.parts()
    stages = recipe.since(number)
    trained = [part for stage in stages for part in stage.train if part.name in parts]
    lora: dict[str, Lora] = {part.name: part.lora for part in trained if part.lora}
    described = recipe.models[number]
    if recipe.save == "trained" and isinstance(described, ModelConfig):
        assert isinstance(run.model, IsthmusForConditionalGeneration)
        changed = {part.name for part in trained if not part.lora}
        if described.four_bit:  # they are joined to the unrounded weights
            changed.add("language_model")
        plan = stages[0].hand_over
        heirs = run.started | (heirs_of(run.model, plan) if plan else set())
        changed |= heirs
        # Beside what was trained of a part, the rest of it is in no tower.
        whole = heirs | {part.name for part in trained if part.only and part.name == "connector"}
        trained += [Part(name=name, lr=0.0) for name in whole]
        towers = Towers(
            vision=(described.vision, *described.beside),
            language=described.language,
            fingerprints={n: f for n, f in run.facts["towers"].items() if n not in changed},
            lora=lora,
        )
        weights = weights_of(run.model, learned_values(parts, trained))
        save_trained(folder, run.model, weights=weights, towers=towers)
        return
    for name in lora:
        merge_lora(parts[name])
    run.model.save_pretrained(folder)


def _run_stage(run: Run, prepared: Prepared) -> None:
    stage, num_steps, average = prepared.stage, prepared.num_steps, prepared.average
    optimizer, dtype = prepared.optimizer, getattr(torch, stage.dtype)
    first = run.position.stage_step
    if dtype == torch.bfloat16 and not has_bfloat16(run.accelerator.device):
        run.console.print(
            "this CPU computes bfloat16 in software, tens of times slower than float32; to stop "
            f"and change it, give --stages.{run.position.stage}.dtype float32",
            highlight=False,
        )
    set_modes(prepared.trainee, prepared.parts, stage.train)
    with (
        recomputed_layers(run.model, enabled=stage.gradient_checkpointing),
        StepProgress(run.console, stage.name, first=first, num_steps=num_steps) as progress,
    ):
        clock = perf_counter()
        for step, due in enumerate(prepared.steps(run.position), start=first):
            lr = set_lr(optimizer, prepared.lr_factor(step))
            figures, counts = take_step(prepared.learner, due.pieces, run.accelerator, dtype)
            norm = _clip(run, prepared)
            optimizer.step()
            optimizer.zero_grad()
            if average:
                average.follow()
            run.position = run.position.after(counts, due.planned, seconds=perf_counter() - clock)

            done = step + 1
            if _is_due(done, stage.log_every, num_steps):
                _check_finite(norm, run.position)
                _log_step(run, progress, stage.name, figures, lr=lr, norm=norm)
            is_best = False
            if prepared.data.validation and _is_due(
                done, stage.validate_every * num_steps, num_steps
            ):
                is_best = _validate(run, prepared, progress)
            interval = stage.checkpoint_every * num_steps
            if is_best or _is_due(done, interval, num_steps):
                _check_finite(norm, run.position)
                _checkpoint(run, prepared, done, interval, is_best=is_best)
            clock = perf_counter()
    if stage.finish == "best" and (best := best_checkpoint(run.output)):
        best.load_weights(prepared.trainee)
        if average:
            average.load(best.average())
        run.console.print(
            f"{stage.name} ends with the weights of step {best.position.step}, whose validation "
            f"loss was {best.position.best_loss:.4f}",
            highlight=False,
        )
    if average and not prepared.is_continued:
        average.settle()


def _clip(run: Run, prepared: Prepared) -> Float[Tensor, ""]:
    """Clips the gradient; returns its norm before."""
    clip = prepared.stage.schedule.clip
    largest = math.inf if clip is None else clip
    return whole(run.accelerator.clip_grad_norm_(prepared.trained_parameters, largest))


def _check_finite(norm: Float[Tensor, ""], position: Position) -> None:
    """Stops a run whose weights are lost, before a checkpoint keeps them.

    One gradient that is not finite makes all that follow so; asking at every step would wait for
    the device each time.
    """
    if not norm.isfinite():
        raise FloatingPointError(
            f"the gradient's norm is {norm.item()} at step {position.step}; train into another "
            "folder, with a lower learning rate or a longer warm-up"
        )


def _is_due(done: int, interval: float, num_steps: int) -> bool:
    """Tells whether something that happens every so many steps, and last, happens now."""
    return done % max(1, int(interval)) == 0 or done == num_steps


def _log_step(
    run: Run,
    progress: StepProgress,
    stage: str,
    figures: Figures,
    *,
    lr: float,
    norm: Float[Tensor, ""],
) -> None:
    losses, metrics = figures.reduced(run.accelerator)
    loss, position = sum(losses.values()), run.position
    run.log.scalars(
        position.step,
        {
            "stage": stage,
            "loss": loss,
            **({} if len(losses) == 1 else losses),
            **metrics,
            "lr": lr,
            "grad_norm": float(norm),
            "samples": position.samples,
            "tokens": position.tokens,
            "samples_per_second": position.per_second(position.samples),
            "tokens_per_second": position.per_second(position.tokens),
            "seconds": round(perf_counter() - run.begun, 3),
        },
    )
    progress.show(position, loss=loss)


def _validate(run: Run, prepared: Prepared, progress: StepProgress) -> bool:
    """Measures the validation loss; tells whether it was never lower in the stage."""
    dtype = getattr(torch, prepared.stage.dtype)
    prepared.trainee.eval()
    with prepared.averaged():
        losses, metrics = validate(prepared.trainee, prepared.validation(), run.accelerator, dtype)
    set_modes(prepared.trainee, prepared.parts, prepared.stage.train)
    loss = sum(losses.values())
    values = {"validation_loss": loss, **{f"validation_{k}": v for k, v in metrics.items()}}
    run.log.scalars(run.position.step, {"stage": prepared.stage.name, **values})
    progress.say(f"step {run.position.step}: validation loss {loss:.4f}")
    best = math.inf if run.position.best_loss is None else run.position.best_loss
    if not loss < best:  # nor is what is no number
        return False
    run.position = replace(run.position, best_loss=loss)
    return True


def _checkpoint(run: Run, prepared: Prepared, done: int, interval: float, *, is_best: bool) -> None:
    number, rest = divmod(done, max(1, int(interval)))
    keep_every = prepared.stage.keep_every
    run.position = replace(run.position, seconds=perf_counter() - run.begun)
    save_checkpoint(
        run.output,
        position=run.position,
        weights=gathered(weights_of(prepared.trainee, prepared.learned)),
        relies_on=prepared.relies_on,
        optimizer=prepared.optimizer,
        average=gathered(prepared.average.values()) if prepared.average else None,
        accelerator=run.accelerator,
        best=is_best,
        keep=keep_every is not None and rest == 0 and number % keep_every == 0,
    )
