# The public names: lazy_loader reads this list when the package is imported, type checkers always.
from .engine.game import GAN as GAN
from .errors import GANError as GANError
from .models.cgan import CGAN as CGAN
from .models.cyclegan import CycleGAN as CycleGAN
from .models.dcgan import DCGAN as DCGAN
from .models.pix2pix import Pix2Pix as Pix2Pix
from .models.stylegan import StyleGAN as StyleGAN
from .models.stylegan2 import StyleGAN2 as StyleGAN2
from .models.vanilla import VanillaGAN as VanillaGAN
from .models.wgan import WGAN as WGAN
from .models.wgan_gp import WGANGP as WGANGP

__version__: str
__all__: list[str]
