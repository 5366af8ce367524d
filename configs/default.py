"""Every field with its default, and what it means; the experiments beside this file change a few of them.

An experiment starts from `get_config()` and lists its variants: --config=configs/creativity.py:biggan256.
"""

from typing import Any

from ml_collections import config_dict

from latentjax.errors import InputError


def get_config() -> config_dict.ConfigDict:
    """The paper's recipe without weights."""
    c = config_dict.ConfigDict()
    c.platform = "any"  # any | cpu | gpu | tpu; no silent fallback
    # float32 (exact) | bfloat16 (generator and assessor but their norms) | auto: bfloat16 on a GPU or TPU
    c.precision = "float32"
    c.forms = "auto"  # how layers are written: the backend's | plain | cpu | gpu | tpu (latentjax/forms.py)

    c.generator = config_dict.ConfigDict()
    c.generator.weights = ""  # a model folder, or embedded:painted-eyes

    c.assessor = config_dict.ConfigDict()
    c.assessor.weights = ""  # a model folder, or embedded:colourfulness | embedded:brightness | embedded:redness
    c.assessor.output = config_dict.placeholder(str)  # EfficientNets: softmax | sigmoid | regression | margin
    c.assessor.output_class = config_dict.placeholder(int)  # whose probability or margin; 2 classes: 1
    c.assessor.centre = config_dict.placeholder(float)  # image properties, margin: where the score is .5; regression: 0
    c.assessor.slope = config_dict.placeholder(float)  # likewise: of the score's logit; regression: of the score
    # spread the scores over generated images, once; in train_assessor: divide the logits by the temperature that fits
    c.assessor.calibrate = False
    # several assessors instead: ({"weights": NAME, "weight": w}, ...), scores are the weighted sum; a term with
    # "keep": True is one that edits should leave alone, w that penalty's; centre, slope ... as above
    c.assessor.terms = ()

    c.transformer = config_dict.ConfigDict()
    # a name of latentjax.transformers.KINDS, ours or the published one; sets z and y below unless they are given
    c.transformer.kind = "two_layer_noise"
    c.transformer.z = ""  # none | vector | linear(...) | two_layer(...) of z, y, noise in this order
    c.transformer.y = ""  # likewise
    c.transformer.noise_dim = 8  # entries of the noise that D_z sees
    c.transformer.noise_dim_y = config_dict.placeholder(int)  # None: int(noise_dim * classes / Z), as published
    c.transformer.class_reg = 1000.0  # divides D_y
    c.transformer.renorm = "sample"  # length of z kept per sample | batch (published code) | none (paper)
    c.transformer.num_directions = config_dict.placeholder(int)  # K of z, trained in turn; None: by the kind
    c.transformer.weights = ""  # a transformer folder to start from, or to evaluate without training

    c.latents = config_dict.ConfigDict()
    c.latents.classes = "onehot"  # onehot:3,7,9 | mixture:2 | mixture:2:3,7,9 | artbreeder:FILE (class_vectors.py)
    c.latents.truncation = 1.0  # of z, in (0, 1]

    c.train = config_dict.ConfigDict()
    c.train.num_steps = 400_000
    c.train.batch_size = 8  # latents a step, over all devices
    c.train.micro_batches = 1  # parts of the batch worked on after one another, for memory
    c.train.alphas_per_latent = 1  # edits that share one unedited pass
    c.train.clip_alphas = False  # only alphas with 0 < score + alpha < 1; for scores in [0, 1]
    c.train.angle_weight = 0.1  # several directions: of the cosines between them
    c.train.angle_form = "mean"  # of |cos| over batch and directions | published (|sum of cos over the batch|)
    c.train.optimizer = "radam"  # or adam
    c.train.learning_rate = 1e-3
    c.train.schedule = "constant"  # or cosine, to 0 at num_steps
    c.train.warmup_steps = 0
    c.train.weight_decay = 0.0  # decoupled
    c.train.clip_norm = 0.0  # of the gradient; 0: none
    c.train.seed = 0
    c.train.log_every = 50  # steps
    c.train.checkpoint_every = 1000
    c.train.samples_every = 1000  # strips in samples/; 0: none
    c.train.profile_steps = 0  # steps traced by jax.profiler into profile/, after ten that warm up; 0: none

    c.checkpoints = config_dict.ConfigDict()
    c.checkpoints.folder = ""  # default: WORKDIR/checkpoints
    c.checkpoints.keep = 2  # latest ones, beside the best

    c.evaluate = config_dict.ConfigDict()
    c.evaluate.latents = ""  # a folder or file of Artbreeder JSON; empty: sampled
    c.evaluate.count = 64  # sampled latents
    c.evaluate.seed = 1  # of sampled latents
    c.evaluate.noise_seeds = (0,)  # a strip for each
    c.evaluate.alphas = (-0.5, -0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    c.evaluate.mode = "bigger_step"  # every alpha from the original | iterative (from the alpha before)
    c.evaluate.move = "both"  # or z | y alone
    c.evaluate.directions = ()  # which of several; empty: all
    # learned | ascent (each image by itself) | arithmetic (mean minus mean) | svm (InterFaceGAN's boundary) |
    # pca (GANSpace) | sefa (the first layers' singular vectors) | random
    c.evaluate.method = "learned"
    # several for --job=evaluate to compare on the same latents: methods, run or transformer folders, "LABEL=either"
    c.evaluate.runs = ()
    c.evaluate.strength = 1.0  # of directions that are not learned, times alpha
    c.evaluate.components = 10  # of pca and sefa: how many are tried; the one that moves scores most is taken
    c.evaluate.ascent_steps = 20
    c.evaluate.ascent_step_size = 1.0  # longest step in (z, y)
    c.evaluate.plus = ""  # arithmetic, svm: latents (files) to go towards; empty: the highest scores of sampled ones
    c.evaluate.minus = ""  # and those to go away from; empty: the lowest
    c.evaluate.arithmetic_count = 512  # sampled latents: scored for arithmetic and svm; pca takes as many, up to 2048
    c.evaluate.arithmetic_share = 0.25  # arithmetic, svm: of them at either end
    c.evaluate.properties = "ours"  # image properties by the paper's definitions | published (by its code's)
    # what is the object: background (differs from the border) | onnx:FILE | python:FILE.py:FUNCTION | empty: no masks;
    # FUNCTION is called from several threads at once, each with one strip: uint8 [N, R, R, 3] -> bool [N, R, R]
    c.evaluate.masks = "background"
    c.evaluate.judged_alphas = (-0.5, -0.3, 0.0, 0.3, 0.5)  # those of alphas at which the three below look; 0 is needed
    c.evaluate.features = ""  # an EfficientNet or ResNet whose features tell how alike pictures are: embedded:lite0
    c.evaluate.classifier = ""  # a classifier that tells whether an edit keeps the class: embedded:eye-colours
    c.evaluate.held_out = ()  # a second assessor, as assessor.terms: catches edits that only fool the first
    c.evaluate.sprite_size = 128  # width in pixels of a tile on the page
    c.evaluate.format = "png"  # of strips | jpeg
    c.evaluate.jpeg_quality = 90
    c.evaluate.name = ""  # folder under evaluation/; default: SOURCE-STEP, SOURCE-METHOD, or SOURCE-compared
    c.evaluate.batch_size = 4  # strips at once, over all devices
    c.evaluate.skip_bad = False  # go on without latent files that are wrong
    c.evaluate.before_train = False  # also evaluate the untrained transformer
    c.evaluate.after_train = True

    c.data = config_dict.ConfigDict()
    # what an assessor learns from, see latentjax/data: image_folder | creativity | artbreeder_latents (to explore)
    c.data.kind = "image_folder"
    c.data.images = ""  # pictures; image_folder without scores: in a folder for each class
    c.data.scores = ""  # image_folder: a CSV of "name,value", for a regression
    c.data.ancestors = ()  # creativity: files of "key ancestors" lines, CSV or JSONL
    c.data.generated = ""  # creativity: generated pictures, of label 0
    c.data.many = 100  # creativity: label 1 is more ancestors than this
    c.data.none = 0  # label 0 is at most this many; between them a picture is left out
    c.data.latents = ""  # artbreeder_latents: a folder or file of Artbreeder JSON
    c.data.users = ""  # artbreeder_latents: a CSV of "name,user"
    c.data.folder = ""  # of the prepared set, made where it is missing; default: WORKDIR/data
    c.data.size = 512  # side in pixels of the prepared pictures, as in the paper
    c.data.format = "png"  # of the prepared pictures | jpeg
    c.data.validation = 0.2  # share of the validation split, by a hash of the key
    c.data.balance = "subsample"  # classes made equal in number | weights (in the loss) | none
    c.data.origin = ""  # where the pictures are from; cards and pages tell it
    c.data.skip_bad = False  # go on without pictures that are damaged or of a kind that is refused

    c.assessor_training = config_dict.ConfigDict()  # --job=train_assessor, from assessor.weights or from scratch
    c.assessor_training.variant = "b0"  # from scratch: b0 ... b7, lite0
    c.assessor_training.image_size = config_dict.placeholder(int)  # None: the weights' or the variant's own
    c.assessor_training.output = "softmax"  # | sigmoid (one logit for two classes) | regression
    c.assessor_training.num_steps = 45_000  # the paper's 76,800 training pictures ten times at batch 16
    c.assessor_training.batch_size = 16
    c.assessor_training.optimizer = "radam"  # or adam; with weight_decay it is AdamW
    c.assessor_training.learning_rate = 1e-3
    c.assessor_training.schedule = "constant"  # or cosine
    c.assessor_training.warmup_steps = 0
    c.assessor_training.weight_decay = 0.0
    c.assessor_training.clip_norm = 0.0
    c.assessor_training.label_smoothing = 0.0  # .1 in the paper's other loss
    c.assessor_training.noise = 4 / 255  # standard deviation of Gaussian noise on the normalised input
    c.assessor_training.flip = False  # left and right, at random
    c.assessor_training.dropout = 0.2  # before the head
    c.assessor_training.drop_connect = 0.2  # of the last block's residual branch; less in the earlier ones
    # validated and exported with the norms' statistics averaged over so many batches; 0: the running ones, as published
    c.assessor_training.statistics_batches = 0
    c.assessor_training.seed = 0
    c.assessor_training.log_every = 50
    c.assessor_training.validate_every = 1000  # steps; a checkpoint each time
    c.assessor_training.patience = 0  # validations without a better one before it stops; 0: never
    c.assessor_training.workers = 0  # processes that read pictures; 0: threads

    c.generate = config_dict.ConfigDict()  # --job=generate
    c.generate.tile = ""  # one tile of an evaluation again: EVALUATION/manifest.jsonl:LINE, within the workdir
    c.generate.latents = ""  # a folder or file of Artbreeder JSON; empty: sampled, see latents.classes, .truncation
    c.generate.count = 64  # sampled latents
    c.generate.seed = 2
    c.generate.alphas = ()  # how far transformer.weights (or the run's transformer) moves them; empty: unedited
    c.generate.noise_seeds = (0,)
    c.generate.format = "png"  # | jpeg | array_record (a data set that TFDS reads)
    c.generate.jpeg_quality = 90
    c.generate.shard_size = 1000  # images in a folder or shard
    c.generate.batch_size = 16  # images at once, over all devices
    c.generate.name = ""  # folder under generated/; default: after the latents
    c.generate.skip_bad = False  # go on without latent files that are wrong

    c.animate = config_dict.ConfigDict()  # --job=animate
    c.animate.kind = "sweep"  # along alpha | walk (from latent to latent)
    c.animate.latents = ""  # a folder or file of Artbreeder JSON; empty: sampled
    c.animate.count = 4  # sampled latents: a film of each sweep, or the stations of one walk
    c.animate.seed = 3
    c.animate.alphas = (-0.5, 0.5)  # a sweep goes from one to the other and back; a walk never edits
    c.animate.noise_seeds = (0,)  # a sweep for each
    c.animate.frames = 41  # from one end of a sweep, or one station of a walk, to the next, both counted
    c.animate.frames_per_second = 20.0
    c.animate.formats = ("webp",)  # of webp, gif, mp4 (with ffmpeg)
    c.animate.size = 0  # width in pixels; 0: the generator's
    c.animate.batch_size = 16  # images at once, over all devices
    c.animate.name = ""  # folder under animations/; default: after the latents
    c.animate.skip_bad = False  # go on without latent files that are wrong

    c.explore = config_dict.ConfigDict()  # --job=explore
    c.explore.latents = ""  # a folder or file of Artbreeder JSON; empty: sampled
    c.explore.count = 500  # sampled latents
    c.explore.seed = 4
    c.explore.users = ""  # a CSV of "name,user": points are coloured by user; empty: by class
    c.explore.user_images = (50, 100)  # users with so many images are coloured, as in the paper
    c.explore.of = "z"  # what is mapped: z | y | both (scaled to the same variance)
    c.explore.components = 50  # of the PCA before t-SNE
    c.explore.perplexity = 30.0  # of t-SNE
    c.explore.clusters = 6  # with thumbnails beside the map; at most 24
    c.explore.directions = 5  # PCA and SeFa directions that are exported; 0: none
    c.explore.batch_size = 16  # images at once, over all devices
    c.explore.name = ""  # folder under exploration/; default: after the latents
    c.explore.skip_bad = False  # go on without latent files that are wrong

    c.paper = config_dict.ConfigDict()  # --job=paper, see configs/miniature.py
    c.paper.bred = 1200  # images with more than data.many ancestors
    c.paper.plain = 600  # founders, without ancestors
    c.paper.fresh = 600  # freshly generated
    c.paper.generations = 60  # of breeding
    c.paper.seed = 0
    c.paper.baseline_learning_rate = 1e-1  # of the one direction, which has further to go than the map

    c.plan = config_dict.ConfigDict()
    c.plan.topology = (
        ""  # a TPU slice to compile for: v5e:2x4 | v6e:2x4 | v5p:2x2x2 | v4:2x2x2 ...; empty: what is here
    )
    c.plan.generator = ""  # where generator.weights are not there yet: biggan128 | biggan256 | biggan512
    c.plan.assessor = ""  # likewise: efficientnet-b0 ... b7
    c.plan.largest_batch = True  # search for the largest batch that fits, by further compilations
    c.plan.price_per_chip_hour = 0.0  # in any currency
    return c


def with_variants(
    c: config_dict.ConfigDict, chosen: str | None, variants: dict[str, dict[str, Any]]
) -> config_dict.ConfigDict:
    """The config with the fields of each chosen variant ("a,b") set.

    Raises:
        InputError: a variant that is not in the table.
    """
    for name in filter(None, (chosen or "").split(",")):
        if name not in variants:
            raise InputError("--config", f"has no variant {name!r}", f"choose from {', '.join(variants) or 'none'}")
        c.update_from_flattened_dict(variants[name])
    return c
