"""BibTeX entries of the sources of this library's methods, written once because several classes may share one."""

AGARWAL_2021 = """\
@inproceedings{agarwal2021deep,
  title     = {Deep Reinforcement Learning at the Edge of the Statistical Precipice},
  author    = {Agarwal, Rishabh and Schwarzer, Max and Castro, Pablo Samuel and Courville, Aaron and
               Bellemare, Marc G.},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {34},
  year      = {2021}
}"""

BERTINETTO_2019 = """\
@inproceedings{bertinetto2019r2d2,
  title     = {Meta-learning with differentiable closed-form solvers},
  author    = {Bertinetto, Luca and Henriques, Jo{\\~a}o F. and Torr, Philip H. S. and Vedaldi, Andrea},
  booktitle = {International Conference on Learning Representations},
  year      = {2019}
}"""

BOUDIAF_2022 = """\
@inproceedings{boudiaf2022lame,
  title     = {Parameter-free Online Test-time Adaptation},
  author    = {Boudiaf, Malik and Mueller, Romain and Ben Ayed, Ismail and Bertinetto, Luca},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2022}
}"""

CHEN_2018 = """\
@inproceedings{chen2018gradnorm,
  title     = {{GradNorm}: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask Networks},
  author    = {Chen, Zhao and Badrinarayanan, Vijay and Lee, Chen-Yu and Rabinovich, Andrew},
  booktitle = {International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {80},
  pages     = {794--803},
  year      = {2018}
}"""

DESIDERI_2012 = """\
@article{desideri2012mgda,
  title   = {Multiple-gradient descent algorithm ({MGDA}) for multiobjective optimization},
  author  = {D{\\'e}sid{\\'e}ri, Jean-Antoine},
  journal = {Comptes Rendus Math{\\'e}matique},
  volume  = {350},
  number  = {5--6},
  pages   = {313--318},
  year    = {2012}
}"""

DUAN_2016 = """\
@inproceedings{duan2016benchmarking,
  title     = {Benchmarking Deep Reinforcement Learning for Continuous Control},
  author    = {Duan, Yan and Chen, Xi and Houthooft, Rein and Schulman, John and Abbeel, Pieter},
  booktitle = {International Conference on Machine Learning},
  pages     = {1329--1338},
  year      = {2016}
}"""

DUAN_2016_RL2 = """\
@misc{duan2016rl2,
  title         = {{RL}$^2$: Fast Reinforcement Learning via Slow Reinforcement Learning},
  author        = {Duan, Yan and Schulman, John and Chen, Xi and Bartlett, Peter L. and Sutskever, Ilya and
                   Abbeel, Pieter},
  year          = {2016},
  eprint        = {1611.02779},
  archiveprefix = {arXiv}
}"""

FIFTY_2021 = """\
@inproceedings{fifty2021tag,
  title     = {Efficiently Identifying Task Groupings for Multi-Task Learning},
  author    = {Fifty, Christopher and Amid, Ehsan and Zhao, Zhe and Yu, Tianhe and Anil, Rohan and Finn, Chelsea},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {34},
  year      = {2021}
}"""

FINN_2017 = """\
@inproceedings{finn2017maml,
  title     = {Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks},
  author    = {Finn, Chelsea and Abbeel, Pieter and Levine, Sergey},
  booktitle = {International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {70},
  pages     = {1126--1135},
  year      = {2017}
}"""

GUPTA_2024 = """\
@inproceedings{gupta2024icrm,
  title     = {Context is Environment},
  author    = {Gupta, Sharut and Jegelka, Stefanie and Lopez-Paz, David and Ahuja, Kartik},
  booktitle = {International Conference on Learning Representations},
  year      = {2024}
}"""

HAARNOJA_2018 = """\
@misc{haarnoja2018soft,
  title         = {Soft Actor-Critic Algorithms and Applications},
  author        = {Haarnoja, Tuomas and Zhou, Aurick and Hartikainen, Kristian and Tucker, George and Ha, Sehoon and
                   Tan, Jie and Kumar, Vikash and Zhu, Henry and Gupta, Abhishek and Abbeel, Pieter and Levine, Sergey},
  year          = {2018},
  eprint        = {1812.05905},
  archivePrefix = {arXiv}
}"""

IWASAWA_2021 = """\
@inproceedings{iwasawa2021t3a,
  title     = {Test-Time Classifier Adjustment Module for Model-Agnostic Domain Generalization},
  author    = {Iwasawa, Yusuke and Matsuo, Yutaka},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {34},
  year      = {2021}
}"""

KAO_2022 = """\
@inproceedings{kao2022zeroing,
  title     = {{MAML} is a Noisy Contrastive Learner in Classification},
  author    = {Kao, Chia-Hsiang and Chiu, Wei-Chen and Chen, Pin-Yu},
  booktitle = {International Conference on Learning Representations},
  year      = {2022}
}"""

KENDALL_2018 = """\
@inproceedings{kendall2018uncertainty,
  title     = {Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics},
  author    = {Kendall, Alex and Gal, Yarin and Cipolla, Roberto},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2018}
}"""

LIN_2022 = """\
@article{lin2022random,
  title   = {Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning},
  author  = {Lin, Baijiong and Ye, Feiyang and Zhang, Yu and Tsang, Ivor W.},
  journal = {Transactions on Machine Learning Research},
  year    = {2022}
}"""

LIU_2021_CAGRAD = """\
@inproceedings{liu2021cagrad,
  title     = {Conflict-Averse Gradient Descent for Multi-task Learning},
  author    = {Liu, Bo and Liu, Xingchao and Jin, Xiaojie and Stone, Peter and Liu, Qiang},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {34},
  year      = {2021}
}"""

LIU_2021_DREAM = """\
@inproceedings{liu2021dream,
  title     = {Decoupling Exploration and Exploitation for Meta-Reinforcement Learning without Sacrifices},
  author    = {Liu, Evan Zheran and Raghunathan, Aditi and Liang, Percy and Finn, Chelsea},
  booktitle = {International Conference on Machine Learning},
  year      = {2021}
}"""

LIU_2021_IMTL = """\
@inproceedings{liu2021imtl,
  title     = {Towards Impartial Multi-task Learning},
  author    = {Liu, Liyang and Li, Yi and Kuang, Zhanghui and Xue, Jing-Hao and Chen, Yimin and
               Yang, Wenming and Liao, Qingmin and Zhang, Wayne},
  booktitle = {International Conference on Learning Representations},
  year      = {2021}
}"""

LIU_2023 = """\
@inproceedings{liu2023famo,
  title     = {{FAMO}: Fast Adaptive Multitask Optimization},
  author    = {Liu, Bo and Feng, Yihao and Stone, Peter and Liu, Qiang},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {36},
  year      = {2023}
}"""

LI_2017 = """\
@article{li2017metasgd,
  title   = {Meta-{SGD}: Learning to Learn Quickly for Few-Shot Learning},
  author  = {Li, Zhenguo and Zhou, Fengwei and Chen, Fei and Li, Hang},
  journal = {arXiv preprint arXiv:1707.09835},
  year    = {2017}
}"""

LI_2020 = """\
@inproceedings{li2020qffl,
  title     = {Fair Resource Allocation in Federated Learning},
  author    = {Li, Tian and Sanjabi, Maziar and Beirami, Ahmad and Smith, Virginia},
  booktitle = {International Conference on Learning Representations},
  year      = {2020}
}"""

MCLEAN_2025 = """\
@misc{mclean2025multitask,
  title         = {Multi-Task Reinforcement Learning Enables Parameter Scaling},
  author        = {McLean, Reginald and Chatzaroulas, Evangelos and Terry, Jordan and Woungang, Isaac and
                   Farsad, Nariman and Castro, Pablo Samuel},
  year          = {2025},
  eprint        = {2503.05126},
  archivePrefix = {arXiv}
}"""

MCMAHAN_2017 = """\
@inproceedings{mcmahan2017fedavg,
  title     = {Communication-Efficient Learning of Deep Networks from Decentralized Data},
  author    = {McMahan, H. Brendan and Moore, Eider and Ramage, Daniel and Hampson, Seth and
               Ag{\\"u}era y Arcas, Blaise},
  booktitle = {International Conference on Artificial Intelligence and Statistics},
  series    = {Proceedings of Machine Learning Research},
  volume    = {54},
  pages     = {1273--1282},
  year      = {2017}
}"""

MOSKALEV_2022 = """\
@inproceedings{moskalev2022liegg,
  title     = {{LieGG}: Studying Learned {Lie} Group Generators},
  author    = {Moskalev, Artem and Sepliarskaia, Anna and Sosnovik, Ivan and Smeulders, Arnold},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2022}
}"""

NADO_2020 = """\
@article{nado2020prediction,
  title   = {Evaluating Prediction-Time Batch Normalization for Robustness under Covariate Shift},
  author  = {Nado, Zachary and Padhy, Shreyas and Sculley, D. and D'Amour, Alexander and
             Lakshminarayanan, Balaji and Snoek, Jasper},
  journal = {arXiv preprint arXiv:2006.10963},
  year    = {2020}
}"""

NAVON_2022 = """\
@inproceedings{navon2022nashmtl,
  title     = {Multi-Task Learning as a Bargaining Game},
  author    = {Navon, Aviv and Shamsian, Aviv and Achituve, Idan and Maron, Haggai and Kawaguchi, Kenji and
               Chechik, Gal and Fetaya, Ethan},
  booktitle = {International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {162},
  pages     = {16428--16446},
  year      = {2022}
}"""

NICHOL_2018 = """\
@article{nichol2018reptile,
  title   = {On First-Order Meta-Learning Algorithms},
  author  = {Nichol, Alex and Achiam, Joshua and Schulman, John},
  journal = {arXiv preprint arXiv:1803.02999},
  year    = {2018}
}"""

PARK_2019 = """\
@inproceedings{park2019metacurvature,
  title     = {Meta-Curvature},
  author    = {Park, Eunbyung and Oliva, Junier B.},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {32},
  pages     = {3314--3324},
  year      = {2019}
}"""

RAJESWARAN_2019 = """\
@inproceedings{rajeswaran2019imaml,
  title     = {Meta-Learning with Implicit Gradients},
  author    = {Rajeswaran, Aravind and Finn, Chelsea and Kakade, Sham M. and Levine, Sergey},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {32},
  year      = {2019}
}"""

RAKELLY_2019 = """\
@inproceedings{rakelly2019pearl,
  title     = {Efficient Off-Policy Meta-Reinforcement Learning via Probabilistic Context Variables},
  author    = {Rakelly, Kate and Zhou, Aurick and Finn, Chelsea and Levine, Sergey and Quillen, Deirdre},
  booktitle = {International Conference on Machine Learning},
  year      = {2019}
}"""

ROTHFUSS_2019 = """\
@inproceedings{rothfuss2019promp,
  title     = {{ProMP}: Proximal Meta-Policy Search},
  author    = {Rothfuss, Jonas and Lee, Dennis and Clavera, Ignasi and Asfour, Tamim and Abbeel, Pieter},
  booktitle = {International Conference on Learning Representations},
  year      = {2019}
}"""

SAGAWA_2020 = """\
@inproceedings{sagawa2020groupdro,
  title     = {Distributionally Robust Neural Networks for Group Shifts: On the Importance of Regularization
               for Worst-Case Generalization},
  author    = {Sagawa, Shiori and Koh, Pang Wei and Hashimoto, Tatsunori B. and Liang, Percy},
  booktitle = {International Conference on Learning Representations},
  year      = {2020}
}"""

SCHNEIDER_2020 = """\
@inproceedings{schneider2020covariate,
  title     = {Improving robustness against common corruptions by covariate shift adaptation},
  author    = {Schneider, Steffen and Rusak, Evgenia and Eck, Luisa and Bringmann, Oliver and
               Brendel, Wieland and Bethge, Matthias},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {33},
  year      = {2020}
}"""

SCHULMAN_2015 = """\
@inproceedings{schulman2015trust,
  title     = {Trust Region Policy Optimization},
  author    = {Schulman, John and Levine, Sergey and Abbeel, Pieter and Jordan, Michael and Moritz, Philipp},
  booktitle = {International Conference on Machine Learning},
  pages     = {1889--1897},
  year      = {2015}
}"""

SCHULMAN_2016 = """\
@inproceedings{schulman2016high,
  title     = {High-Dimensional Continuous Control Using Generalized Advantage Estimation},
  author    = {Schulman, John and Moritz, Philipp and Levine, Sergey and Jordan, Michael and Abbeel, Pieter},
  booktitle = {International Conference on Learning Representations},
  year      = {2016}
}"""

SCHULMAN_2017 = """\
@misc{schulman2017proximal,
  title         = {Proximal Policy Optimization Algorithms},
  author        = {Schulman, John and Wolski, Filip and Dhariwal, Prafulla and Radford, Alec and Klimov, Oleg},
  year          = {2017},
  eprint        = {1707.06347},
  archivePrefix = {arXiv}
}"""

SENER_2018 = """\
@inproceedings{sener2018mgda,
  title     = {Multi-Task Learning as Multi-Objective Optimization},
  author    = {Sener, Ozan and Koltun, Vladlen},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {31},
  year      = {2018}
}"""

SENUSHKIN_2023 = """\
@inproceedings{senushkin2023aligned,
  title     = {Independent Component Alignment for Multi-Task Learning},
  author    = {Senushkin, Dmitry and Patakin, Nikolay and Kuznetsov, Arseny and Konushin, Anton},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2023}
}"""

SINKHORN_1967 = """\
@article{sinkhorn1967doubly,
  title   = {Concerning nonnegative matrices and doubly stochastic matrices},
  author  = {Sinkhorn, Richard and Knopp, Paul},
  journal = {Pacific Journal of Mathematics},
  volume  = {21},
  number  = {2},
  pages   = {343--348},
  year    = {1967}
}"""

STADIE_2018 = """\
@article{stadie2018exploring,
  title   = {Some Considerations on Learning to Explore via Meta-Reinforcement Learning},
  author  = {Stadie, Bradly C. and Yang, Ge and Houthooft, Rein and Chen, Xi and Duan, Yan and Wu, Yuhuai and Abbeel,
             Pieter and Sutskever, Ilya},
  journal = {arXiv preprint arXiv:1803.01118},
  year    = {2018}
}"""

VAN_DER_LINDEN_2024 = """\
@inproceedings{vanderlinden2024wscnn,
  title     = {Learning symmetries via weight-sharing with doubly stochastic tensors},
  author    = {van der Linden, Putri A. and Garc{\\'i}a-Castellanos, Alejandro and Vadgama, Sharvaree and
               Kuipers, Thijs P. and Bekkers, Erik J.},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {37},
  year      = {2024}
}"""

WANG_2016 = """\
@misc{wang2016learning,
  title         = {Learning to Reinforcement Learn},
  author        = {Wang, Jane X. and Kurth-Nelson, Zeb and Tirumala, Dhruva and Soyer, Hubert and Leibo, Joel Z. and
                   Munos, R{\\'e}mi and Blundell, Charles and Kumaran, Dharshan and Botvinick, Matt},
  year          = {2016},
  eprint        = {1611.05763},
  archiveprefix = {arXiv}
}"""

WANG_2021 = """\
@inproceedings{wang2021tent,
  title     = {Tent: Fully Test-Time Adaptation by Entropy Minimization},
  author    = {Wang, Dequan and Shelhamer, Evan and Liu, Shaoteng and Olshausen, Bruno and Darrell, Trevor},
  booktitle = {International Conference on Learning Representations},
  year      = {2021}
}"""

WU_2021 = """\
@misc{wu2021batchnorm,
  title         = {Rethinking "Batch" in {BatchNorm}},
  author        = {Wu, Yuxin and Johnson, Justin},
  year          = {2021},
  eprint        = {2105.07576},
  archiveprefix = {arXiv}
}"""

YU_2019 = """\
@inproceedings{yu2019metaworld,
  title     = {Meta-World: A Benchmark and Evaluation for Multi-Task and Meta Reinforcement Learning},
  author    = {Yu, Tianhe and Quillen, Deirdre and He, Zhanpeng and Julian, Ryan and Hausman, Karol and
               Finn, Chelsea and Levine, Sergey},
  booktitle = {Conference on Robot Learning},
  year      = {2019}
}"""

YU_2020 = """\
@inproceedings{yu2020pcgrad,
  title     = {Gradient Surgery for Multi-Task Learning},
  author    = {Yu, Tianhe and Kumar, Saurabh and Gupta, Abhishek and Levine, Sergey and Hausman, Karol and
               Finn, Chelsea},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {33},
  year      = {2020}
}"""

ZHANG_2021 = """\
@inproceedings{zhang2021arm,
  title     = {Adaptive Risk Minimization: Learning to Adapt to Domain Shift},
  author    = {Zhang, Marvin and Marklund, Henrik and Dhawan, Nikita and Gupta, Abhishek and
               Levine, Sergey and Finn, Chelsea},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {34},
  year      = {2021}
}"""

ZHOU_2021 = """\
@inproceedings{zhou2021msr,
  title     = {Meta-Learning Symmetries by Reparameterization},
  author    = {Zhou, Allan and Knowles, Tom and Finn, Chelsea},
  booktitle = {International Conference on Learning Representations},
  year      = {2021}
}"""

ZINTGRAF_2020 = """\
@inproceedings{zintgraf2020varibad,
  title     = {{VariBAD}: A Very Good Method for {Bayes}-Adaptive Deep {RL} via Meta-Learning},
  author    = {Zintgraf, Luisa and Shiarlis, Kyriacos and Igl, Maximilian and Schulze, Sebastian and Gal, Yarin and
               Hofmann, Katja and Whiteson, Shimon},
  booktitle = {International Conference on Learning Representations},
  year      = {2020}
}"""
